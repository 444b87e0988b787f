"""What there is to compile: R packages of a lock, less what the cache has of them.

A result is kept in the cache under a hash over everything that went in (its source, the results
that it is built on, the root's RPMs, how it is compiled): what did not change is not compiled
again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from landbridge.bundle import r_root
from landbridge.bundle.r_conda import Environment, environment_of
from landbridge.bundle.r_content import Installation, installations, system_rpms, versions
from landbridge.bundle.r_packages import Packages, hash_of, keys, left_out, packages_of
from landbridge.ecosystems import Learner
from landbridge.errors import InputError
from landbridge.lock import Lock

# To be raised when r_root.sh or r_tree.py change what comes out.
_RECIPE = 1
_KIND = "r-packages"
FOLDER = "r-binaries"
# `Built:` of every package: no clock takes part (see `bundle.part.SEAL`).
_BUILT = "1980-01-01 00:00:00 UTC"
INSTALL = ("R", "CMD", "INSTALL", "--strip", "--strip-lib", f"--built-timestamp={_BUILT}")
ENVIRONMENT = {
    "PATH": "/usr/bin:/usr/sbin",
    # The root's own, for this package alone.
    "HOME": "/tmp",  # noqa: S108
    "TMPDIR": "/tmp",  # noqa: S108
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": "315532800",
    # Packages are compiled side by side; within one, some do not stand it.
    "MAKEFLAGS": "-j1",
}


@dataclass(frozen=True)
class Result:
    """What is kept of a compiled package: where it is in the cache, and what its index says."""

    sha256: str
    md5: str
    size: int
    built: str


class Work(NamedTuple):
    """What there is to do for one R of one target.

    Attributes:
        r: the R.
        packages: all that can be compiled for it.
        left_out: those that cannot, with the reason; R takes their sources instead.
        keys: of the results.
        results: those that are in the cache.
        root: what the packages are compiled in.
        conda: the environment in it that has the R; None for the RPM's.
    """

    r: Installation
    packages: Packages
    left_out: Mapping[str, str]
    keys: Mapping[str, str]
    results: Mapping[str, Result]
    root: r_root.Spec
    conda: Environment | None

    @property
    def missing(self) -> list[str]:
        """Names of what is not in the cache, sorted."""
        return sorted(self.packages.keys() - self.results.keys())

    def root_bytes(self, folder: Path) -> int:
        """Bytes of what must be made to compile in, about.

        Args:
            folder: keeps roots between builds.
        """
        place = r_root.place(self.root, folder)
        found = 0 if place.is_dir() else self.root.size
        if self.conda and not self.conda.place(place).is_dir():
            found += self.conda.size
        return found


def work_of(lock: Lock, learner: Learner) -> list[Work]:
    """What there is to do; looks at the lock and the cache, and does nothing.

    Raises:
        InputError: a target has no R, or a package of the site library needs another R or
            another version of a neighbour.
    """
    packages = packages_of(lock)
    if not packages:
        return []
    if without := [target for target, found in versions(lock).items() if not found]:
        raise InputError(
            f"--r-binaries: there is no R in the lock for {', '.join(without)}",
            "add R-core and R-core-devel to rpm.packages of the stack, and lock it again",
        )
    found = installations(lock)
    if twice := [path for path, count in Counter(r.path for r in found).items() if count > 1]:
        raise InputError(
            f"--r-binaries: two environments have the R of {', '.join(twice)}",
            "name environments of different R x.y in r.environments: libraries are named after it",
        )
    return [_work(r, packages, lock, learner) for r in found]


def keep(learner: Learner, key: str, result: Result) -> None:
    """Remember a result, whose file is in the cache."""
    learner.remember(_KIND, key, json.dumps(asdict(result)))


def variables(conda: Environment | None) -> dict[str, str]:
    """What packages are compiled with in their environment; conda's names what is in it."""
    if not conda:
        return ENVIRONMENT
    path = f"{conda.prefix}/bin:{ENVIRONMENT['PATH']}"
    return {**ENVIRONMENT, "PATH": path, "CONDA_PREFIX": conda.prefix}


def roots(learner: Learner) -> Path:
    """Where the roots are kept that packages are compiled in, one for each target."""
    return learner.folder(FOLDER) / "roots"


def _work(r: Installation, packages: Packages, lock: Lock, learner: Learner) -> Work:
    reasons = left_out(packages, r.version)
    if refused := {n: why for n, why in reasons.items() if packages[n].is_of_site}:
        lines = "\n".join(f"  {packages[n].title} {why}" for n, why in sorted(refused.items()))
        raise InputError(
            f"--r-binaries: not to be compiled for {r.title}:\n{lines}",
            "pin versions that fit in r.packages (NAME ==VERSION), and lock again",
        )
    fitting = {name: package for name, package in packages.items() if name not in reasons}
    system = system_rpms(lock)[r.target]
    provider = "conda" if r.environment else "rpm"
    spec = r_root.spec(lock, r.target, provider, {*system["run"], *system["build"]})
    conda = environment_of(lock, r.environment) if r.environment else None
    recipe = repr((_RECIPE, INSTALL, variables(conda)))
    hashes = keys(fitting, hash_of(spec.key, r.library, recipe))
    known = {name: _recall(learner, key) for name, key in hashes.items()}
    results = {name: result for name, result in known.items() if result}
    return Work(r, fitting, reasons, hashes, results, spec, conda)


def _recall(learner: Learner, key: str) -> Result | None:
    text = learner.recall(_KIND, key)
    result = Result(**json.loads(text)) if text else None
    return result if result and learner.has(result.sha256) else None
