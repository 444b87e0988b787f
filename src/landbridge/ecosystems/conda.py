"""Conda packages: solved by py-rattler, carried as a channel and as explicit lists."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from landbridge.ecosystems import Learner
from landbridge.errors import InputError, SourceError
from landbridge.files import sha256_of, write_file
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.process import run
from landbridge.stack import Stack
from landbridge.targets import Platform, lowest

CHANNEL = "conda"
ENVIRONMENTS = "conda/envs"
# Keys that say where a record was found; the rest is what repodata.json holds.
_WHERE = ("url", "channel", "fn")


def resolve(stack: Stack, learner: Learner, _kept: Kept | None = None) -> Part:
    """Solve each environment once, for the oldest of the stack's targets."""
    wanted = stack.conda.environments
    if not wanted or stack.sources.conda is None:
        return Part([])
    platform = lowest(stack.targets)
    answer = _ask_rattler(
        {
            "environments": {name: wanted[name].packages for name in sorted(wanted)},
            "channels": stack.sources.conda.channels,
            "subdir": platform.conda_subdir,
            "virtual_packages": _virtual_packages(platform),
            "cache": str(learner.folder("rattler")),
        }
    )
    if "fault" in answer:
        _refuse(answer)
    artifacts: dict[str, Artifact] = {}
    environments: dict[str, list[str]] = {}
    for name, records in answer["environments"].items():
        environments[name] = [f"{record['subdir']}/{_file(record)}" for record in records]
        for record in records:
            if record["url"] not in artifacts:
                artifacts[record["url"]] = _artifact(record, learner)
            _add_needs(artifacts, record, records)
    return Part(list(artifacts.values()), environments)


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Write `repodata.json` of each subdir and the explicit list of each environment.

    The records are those that the solver saw, corrections of the channel included; made
    anew from the packages they would lack them.
    """
    artifacts = lock.of("conda")
    if not artifacts:
        return
    platform = lowest(lock.targets)
    for subdir in (platform.conda_subdir, "noarch"):
        mine = [a for a in artifacts if subdir in a.targets]
        records = {a.file: a.record for a in mine}
        repodata = {
            "info": {"subdir": subdir},
            "packages": {f: r for f, r in records.items() if f.endswith(".tar.bz2")},
            "packages.conda": {f: r for f, r in records.items() if f.endswith(".conda")},
            "removed": [],
            "repodata_version": 1,
        }
        text = json.dumps(repodata, indent=1, sort_keys=True) + "\n"
        write_file(root / CHANNEL / subdir / "repodata.json", text)
    digests = {a.path.removeprefix(f"{CHANNEL}/"): a.sha256 for a in artifacts}
    for name, files in lock.environments.items():
        lines = [f"{file}#{digests[file]}" for file in files]
        text = "\n".join([f"# platform: {platform.conda_subdir}", "@EXPLICIT", *lines, ""])
        write_file(root / explicit_list(name, platform.conda_subdir), text)


def explicit_list(environment: str, subdir: str) -> str:
    """Path in the bundle of an environment's explicit list."""
    return f"{ENVIRONMENTS}/{environment}.{subdir}.txt"


def unpacked_bytes(root: Path, lock: Lock) -> int:
    """Bytes of all packages unpacked once; environments are hard links to that."""
    files = [str(root / artifact.path) for artifact in lock.of("conda")]
    return sum(_ask_rattler({"files": files}).values()) if files else 0


def _virtual_packages(platform: Platform) -> list[tuple[str, str, str]]:
    glibc = ".".join(str(number) for number in platform.glibc)
    return [
        ("__unix", "0", "0"),
        ("__linux", platform.kernel, "0"),
        ("__glibc", glibc, "0"),
        ("__archspec", "1", platform.microarch),
    ]


def _ask_rattler(job: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "landbridge.ecosystems._rattler"]
    answer: dict[str, Any] = json.loads(
        run(command, package="py-rattler", stdin=json.dumps(job)).stdout
    )
    return answer


def _refuse(answer: dict[str, Any]) -> None:
    """A specification that nothing fulfils is the stack's fault, all else the source's."""
    message = f"conda environment {answer['environment']!r}: {answer['fault']}"
    if answer["kind"] == "SolverError":
        raise InputError(message, "change the environment's packages, or add a channel")
    if answer["kind"] == "InvalidMatchSpecError":
        raise InputError(message, "correct the specification in the stack")
    raise SourceError(message, "check sources.conda.channels and the mirror behind them")


def _artifact(record: dict[str, Any], learner: Learner) -> Artifact:
    sha256, size = record.get("sha256"), record.get("size")
    if not sha256 or not size:
        file = learner.learn(record["url"], record.get("md5"))
        sha256, size = sha256_of(file), file.stat().st_size
    entry = {key: value for key, value in record.items() if key not in _WHERE}
    return Artifact(
        ecosystem="conda",
        name=record["name"],
        version=record["version"],
        build=record["build"],
        targets=[record["subdir"]],
        path=f"{CHANNEL}/{record['subdir']}/{_file(record)}",
        url=record["url"],
        sha256=sha256,
        size=size,
        record=dict(sorted({**entry, "sha256": sha256, "size": size}.items())),
    )


def _add_needs(
    artifacts: dict[str, Artifact], record: dict[str, Any], records: list[dict[str, Any]]
) -> None:
    """Note in the artifact of `record` which packages of the environment depend on it."""
    needed_by = {
        other["name"]
        for other in records
        if any(dependency.split()[0] == record["name"] for dependency in other["depends"])
    }
    artifact = artifacts[record["url"]]
    together = sorted({*artifact.required_by, *needed_by})
    artifacts[record["url"]] = artifact.model_copy(update={"required_by": together})


def _file(record: dict[str, Any]) -> str:
    return str(record["url"]).rsplit("/", 1)[-1]
