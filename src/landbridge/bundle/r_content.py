"""The part `r` of content.json: which R, which packages, what they need of the system."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from landbridge import r_versions
from landbridge.bundle.r_packages import is_of_site, short
from landbridge.lock import Artifact, Lock
from landbridge.stack import Stack

BINARIES = "cran/binaries"


class Installation(NamedTuple):
    """One R of one target.

    Attributes:
        target: kind of node.
        version: R's version, such as `4.5.2`.
        environment: the conda environment that it is in; empty for the RPM.
    """

    target: str
    version: str
    environment: str = ""

    @property
    def short(self) -> str:
        """What compiled packages are good for, such as `4.5`."""
        return short(self.version)

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.target}, R {self.version}"

    @property
    def path(self) -> str:
        """Of the repository of its compiled packages, in the bundle."""
        # What is built on conda's libraries is of no use to the RPM's R of the same version.
        provider = "conda-" if self.environment else ""
        return f"{BINARIES}/{self.target}/{provider}{self.short}"

    @property
    def library(self) -> str:
        """Its site library on nodes."""
        return f"/opt/landbridge/r/{self.short}/library"


def installations(lock: Lock) -> list[Installation]:
    """Every R that a lock offers, the default one of each target first."""
    environments = list(r_versions.of_environments(lock))
    return [
        Installation(target, version, environment)
        for target, found in versions(lock).items()
        for version, environment in zip(found, environments or [""] * len(found), strict=True)
    ]


def versions(lock: Lock) -> dict[str, list[str]]:
    """R's versions by target, as R itself tells them, the default one first."""
    return {
        target: [_number(version) for version in found]
        for target, found in r_versions.versions(lock).items()
    }


def system_rpms(lock: Lock) -> dict[str, dict[str, list[str]]]:
    """RPMs that R packages need, by target: to `run`, and to `build` them (sorted)."""
    packages = lock.of("cran")
    return {
        target: {
            kind: sorted({rpm for a in packages for rpm in a.record.get(kind, {}).get(target, [])})
            for kind in ("run", "build")
        }
        for target in lock.targets
    }


def section(root: Path, stack: Stack, lock: Lock) -> dict[str, Any]:
    """The whole part; which binaries there are is seen in the bundle.

    Args:
        root: the assembled bundle.
        stack: what was wanted.
        lock: what is in it.
    """
    binaries: dict[str, dict[str, str]] = {}
    for r in installations(lock):
        if (root / r.path).is_dir():
            binaries.setdefault(r.target, {})[r.short] = r.path
    return {
        "provider": stack.r.provider,
        "environments": list(stack.r.environments),
        "packages": _packages(lock),
        "versions": versions(lock),
        "binaries": binaries,
        "system": system_rpms(lock),
    }


def _packages(lock: Lock) -> list[dict[str, Any]]:
    """The site library's packages."""
    packages = [a for a in lock.of("cran") if is_of_site(a)]

    def requires(package: Artifact) -> list[str]:
        return sorted(other.name for other in packages if package.name in other.required_by)

    return [
        {
            "name": package.name,
            "version": package.version,
            "requires": requires(package),
            "compiles": package.record.get("compiles", False),
            "path": package.path,
        }
        for package in packages
    ]


def _number(version: str) -> str:
    """`4.5.2`, without what a packager added."""
    match = re.match(r"\d+(\.\d+){0,2}", version)
    return match[0] if match else version
