"""Which R a lock gives each kind of node, and whether its R packages work with it."""

from __future__ import annotations

from landbridge.ecosystems import cran
from landbridge.errors import InputError
from landbridge.lock import Lock

# R itself, as an RPM and as a conda package.
RPM, CONDA = "R-core", "r-base"


def versions(lock: Lock) -> dict[str, list[str]]:
    """R's versions by target, the default one first.

    They are the RPM's, or those of the conda environments that the stack names, in its order.
    """
    wanted = lock.wanted.get("r", {})
    if wanted.get("provider") != "conda":
        found = {t: a.version for a in lock.of("rpm") if a.name == RPM for t in a.targets}
        bare = {target: version.rpartition(":")[2] for target, version in found.items()}
        return {target: [bare[target]] if target in bare else [] for target in lock.targets}
    return {target: list(of_environments(lock).values()) for target in lock.targets}


def of_environments(lock: Lock) -> dict[str, str]:
    """R's version by conda environment, those that the stack names, in its order."""
    carried = {a.path: a.version for a in lock.of("conda") if a.name == CONDA}
    return {
        name: carried[f"conda/{path}"]
        for name in lock.wanted.get("r", {}).get("environments", [])
        for path in lock.environments.get(name, [])
        if f"conda/{path}" in carried
    }


def refuse_too_old(lock: Lock) -> None:
    """Every R must be new enough for every package of the site library.

    Raises:
        InputError: names each package with the R that it needs, and the target that has less.
    """
    site = [artifact for artifact in lock.of("cran") if cran.SITE in artifact.targets]
    needs = [(a, need) for a in site for need in cran.needs(a) if need.name == "R"]
    lines = [
        f"r, {target}: {artifact.name} {artifact.version} needs {need}, there is R {version}"
        for target, found in versions(lock).items()
        for version in found
        for artifact, need in needs
        if not need.is_met_by(version)
    ]
    if lines:
        raise InputError(
            "\n".join(lines),
            "pin a version that works with that R (r.packages: NAME ==VERSION), or offer a newer R",
        )
