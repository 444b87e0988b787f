"""Locks with R and R packages in them, made by hand."""

from __future__ import annotations

from typing import Any

from landbridge.lock import Artifact, Lock, Part, merge

TARGETS = ["el9-x86_64", "el10-x86_64"]
MIRROR = "https://mirror.example.com/cran"


def r_package(name: str, version: str, *, targets: str = "site", **more: Any) -> Artifact:
    """An R package; `Imports` and the like are lines of its index entry."""
    fields = {"Package": name, "Version": version} | {
        key: more.pop(key) for key in ("Depends", "Imports", "LinkingTo") if key in more
    }
    archive = f"Archive/{name}/" if more.pop("archived", False) else ""
    file = f"src/contrib/{archive}{name}_{version}.tar.gz"
    return Artifact(
        ecosystem="cran",
        name=name,
        version=version,
        targets=targets.split(),
        path=f"cran/{file}",
        url=f"{MIRROR}/{file}",
        sha256=version[0] * 64,
        size=1,
        index_entry="\n".join(f"{key}: {value}" for key, value in fields.items()),
        **more,
    )


def rpm_r(version: str, *targets: str, name: str = "R-core", **more: Any) -> Artifact:
    """R as an RPM of these targets."""
    return Artifact(
        ecosystem="rpm",
        name=name,
        version=f"0:{version}",
        build="1.x86_64",
        targets=list(targets),
        path=f"rpm/{targets[0]}/Packages/{name}-{version}.rpm",
        url="https://mirror.example.com/r.rpm",
        sha256="a" * 64,
        size=1,
        **more,
    )


def conda_r(version: str) -> Artifact:
    """R as a conda package."""
    return Artifact(
        ecosystem="conda",
        name="r-base",
        version=version,
        build="h1",
        targets=["linux-64"],
        path=f"conda/linux-64/r-base-{version}-h1.conda",
        url="https://mirror.example.com/conda/forge/linux-64/r-base.conda",
        sha256="b" * 64,
        size=1,
    )


def lock_of(*artifacts: Artifact, provider: str = "rpm", **environments: Artifact) -> Lock:
    """A lock of these, and of conda environments by name with the R in each."""
    paths = {name: [a.path.removeprefix("conda/")] for name, a in environments.items()}
    part = Part([*artifacts, *environments.values()], paths)
    wanted = {"r": {"provider": provider, "environments": list(environments)}}
    return merge("shop", TARGETS, [part], wanted)
