"""A lock's R packages as they are compiled: which, in what order, and what goes into each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import NamedTuple

from landbridge.ecosystems._cran_index import all_needs, needs, parse_packages, version_key
from landbridge.ecosystems.cran import CONTRIB, SITE
from landbridge.lock import Artifact, Lock


class Package(NamedTuple):
    """One package that is to be compiled.

    Attributes:
        artifact: its source.
        fields: of its index entry.
        needs: names of the others that must be installed before it, sorted.
    """

    artifact: Artifact
    fields: dict[str, str]
    needs: tuple[str, ...]

    @property
    def name(self) -> str:
        """R's name of it."""
        return self.artifact.name

    @property
    def title(self) -> str:
        """Name and version, for messages."""
        return f"{self.artifact.name} {self.artifact.version}"

    @property
    def is_of_site(self) -> bool:
        """Whether the site library wants it."""
        return is_of_site(self.artifact)


Packages = Mapping[str, Package]


def is_of_site(artifact: Artifact) -> bool:
    """Whether the site library wants an R package, and not only some project."""
    return not artifact.targets or SITE in artifact.targets


def packages_of(lock: Lock) -> dict[str, Package]:
    """The packages of `src/contrib` itself by name; older versions in its Archive are left out."""
    sources = {a.name: a for a in lock.of("cran") if a.path == f"{CONTRIB}/{a.file}"}
    found = {}
    for name, artifact in sources.items():
        fields = parse_packages(artifact.index_entry)[name]
        needed = tuple(need.name for need in needs(fields) if need.name in sources)
        found[name] = Package(artifact, fields, needed)
    return found


def left_out(packages: Packages, r_version: str) -> dict[str, str]:
    """Those that cannot be compiled with this R and these neighbours, each with the reason.

    Args:
        packages: all that are carried.
        r_version: R's version, such as `4.5.2`.
    """
    reasons: dict[str, str] = {}
    for name in _in_order(packages):
        package = packages[name]
        if reason := _unmet(package, packages, r_version):
            reasons[name] = reason
        elif below := next((n for n in package.needs if n in reasons), None):
            reasons[name] = f"needs {below}, which {reasons[below]}"
    return reasons


def closure(name: str, packages: Packages) -> list[str]:
    """All that must be installed before a package, sorted."""
    found: set[str] = set()
    queue = [name]
    while queue:
        new = set(packages[queue.pop()].needs) - found
        found |= new
        queue += new
    return sorted(found)


def keys(packages: Packages, base: str) -> dict[str, str]:
    """For each package a hash over everything that its result depends on.

    Args:
        packages: all that are compiled.
        base: stands for what all of them are compiled with.
    """
    found: dict[str, str] = {}
    for name in _in_order(packages):
        package = packages[name]
        below = [found[need] for need in package.needs]
        found[name] = hash_of(base, package.artifact.sha256, *below)
    return found


def hash_of(*words: str) -> str:
    """Hex sha256 of words, of which none can run into the next."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def stanza(package: Package, md5: str, built: str) -> str:
    """The entry in PACKAGES of a compiled package: its source's, but for what compiling changed.

    Args:
        package: the source.
        md5: of the compiled package's file.
        built: the field `Built` of its DESCRIPTION.
    """
    fields = {
        key: " ".join(value.split())
        for key, value in package.fields.items()
        if key not in ("stanza", "MD5sum", "Built")
    }
    fields |= {"Built": built, "MD5sum": md5}
    return "\n".join(f"{key}: {value}" for key, value in fields.items())


def _in_order(packages: Packages) -> list[str]:
    """Names such that what a package needs comes before it."""
    return list(TopologicalSorter({n: p.needs for n, p in packages.items()}).static_order())


def _unmet(package: Package, packages: Packages, r_version: str) -> str:
    """What a package needs that this R and these versions are not; empty for nothing."""
    there = {name: other.artifact.version for name, other in packages.items()} | {"R": r_version}
    for need in all_needs(package.fields):
        if need.name in there and not need.is_met_by(there[need.name]):
            return f"needs {need}, and {need.name} is {there[need.name]}"
    return ""


def short(r_version: str) -> str:
    """`4.5` of `4.5.2`: what R's compiled packages are good for."""
    return ".".join(map(str, version_key(r_version)[:2]))
