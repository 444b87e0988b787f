"""A lock's site library as a `renv.lock`, for `renv::restore()` elsewhere.

The format is renv's own (https://rstudio.github.io/renv/articles/lockfile.html).
"""

from __future__ import annotations

import json
from typing import Any

from landbridge.ecosystems import cran
from landbridge.errors import InputError
from landbridge.lock import Artifact, Lock
from landbridge.r_versions import versions

_REPOSITORY = "CRAN"


def renv_lock(lock: Lock, r_version: str | None = None, repository: str | None = None) -> str:
    """The JSON text; the same lock gives the same bytes.

    Args:
        lock: whose site library.
        r_version: one of the lock's R versions; needed where its targets differ in the first.
        repository: URL of the CRAN mirror to restore from; by default that of the lock.

    Raises:
        InputError: there is no site library, or it is not clear which R is meant.
    """
    site = [artifact for artifact in lock.of("cran") if cran.SITE in artifact.targets]
    if not site:
        raise InputError(
            f"the lock of {lock.stack} holds no R packages", "name some in r.packages, and lock"
        )
    url = repository or site[0].url.partition("/src/contrib/")[0]
    data = {
        "R": {
            "Version": _r_version(lock, r_version),
            "Repositories": [{"Name": _REPOSITORY, "URL": url}],
        },
        "Packages": {a.name: _record(a) for a in sorted(site, key=lambda a: a.name)},
    }
    return json.dumps(data, indent=2) + "\n"


def _record(artifact: Artifact) -> dict[str, Any]:
    requirements = sorted({need.name for need in cran.needs(artifact)})
    record: dict[str, Any] = {
        "Package": artifact.name,
        "Version": artifact.version,
        "Source": "Repository",
        "Repository": _REPOSITORY,
    }
    return record | ({"Requirements": requirements} if requirements else {})


def _r_version(lock: Lock, asked: str | None) -> str:
    by_target = {target: found for target, found in versions(lock).items() if found}
    known = list(dict.fromkeys(version for found in by_target.values() for version in found))
    shown = "; ".join(f"{target}: {', '.join(found)}" for target, found in by_target.items())
    if asked:
        if asked not in known:
            raise InputError(
                f"the lock has no R {asked} ({shown or 'it has none at all'})",
                "name one of its versions with --r-version",
            )
        return asked
    defaults = {found[0] for found in by_target.values()}
    if len(defaults) > 1:
        raise InputError(f"R differs between the targets ({shown})", "choose with --r-version")
    if not defaults:
        raise InputError(
            f"the lock of {lock.stack} holds no R",
            "add R-core to rpm.packages, or set r.provider: conda, and lock",
        )
    return defaults.pop()
