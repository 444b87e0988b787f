"""Conda packages: solved by py-rattler, carried as a channel and as explicit lists."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from landbridge.bundle.transport import Missing
from landbridge.ecosystems import Learner
from landbridge.errors import InputError, SourceError
from landbridge.files import scratch, sha256_of, write_file
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.process import run
from landbridge.stack import Stack
from landbridge.targets import Platform, lowest

CHANNEL = "conda"
ENVIRONMENTS = "conda/envs"
# Keys that say where a record was found; the rest is what repodata.json holds.
_WHERE = ("url", "channel", "fn")


def resolve(stack: Stack, learner: Learner, kept: Kept | None = None) -> Part:
    """Solve each environment once, for the oldest of the stack's targets."""
    wanted = stack.conda.environments
    if not wanted or stack.sources.conda is None:
        return Part([])
    platform = lowest(stack.targets)
    channels = _urls(stack.sources.conda.channels)
    locked = {a.url: a for a in kept.lock.of("conda")} if kept else {}
    answer = _ask_rattler(
        "solve",
        environments={
            name: {"specs": wanted[name].packages, **_locked(name, kept)} for name in sorted(wanted)
        },
        repodata=_fetched(channels, platform.conda_subdir, learner),
        virtual_packages=_virtual_packages(platform),
    )
    if "fault" in answer:
        _refuse(answer)
    artifacts: dict[str, Artifact] = {}
    environments: dict[str, list[str]] = {}
    for name, records in answer["environments"].items():
        environments[name] = [f"{record['subdir']}/{_file(record)}" for record in records]
        for record in records:
            url = record["url"]
            if url not in artifacts:
                old = locked.get(url)
                fresh = old.model_copy(update={"required_by": []}) if old else None
                artifacts[url] = fresh or _artifact(record, learner)
            _add_needs(artifacts, record, records)
    return Part(list(artifacts.values()), environments)


def index(root: Path, lock: Lock, _learner: Learner) -> None:
    """Write the indexes of each subdir and the explicit list of each environment.

    The records are those that the solver saw, corrections of the channel included; made
    anew from the packages they would lack them.
    """
    artifacts = lock.of("conda")
    if not artifacts:
        return
    try:
        from landbridge.ecosystems import _conda_shards  # noqa: PLC0415
    except ImportError as error:
        raise _lacking(error) from error
    platform = lowest(lock.targets)
    for subdir in (platform.conda_subdir, "noarch"):
        mine = [a for a in artifacts if subdir in a.targets]
        records = {a.file: a.record for a in mine}
        text = json.dumps(_repodata(subdir, records), indent=1, sort_keys=True) + "\n"
        write_file(root / CHANNEL / subdir / "repodata.json", text)
        _conda_shards.write(root / CHANNEL / subdir, text)
    for name in lock.environments:
        write_file(root / explicit_list(name, platform.conda_subdir), explicit_text(name, lock))


def explicit_list(environment: str, subdir: str) -> str:
    """Path in the bundle of an environment's explicit list."""
    return f"{ENVIRONMENTS}/{environment}.{subdir}.txt"


def explicit_text(environment: str, lock: Lock) -> str:
    """The explicit list of an environment: what nodes install, and name its installation after."""
    digests = {a.path.removeprefix(f"{CHANNEL}/"): a.sha256 for a in lock.of("conda")}
    lines = [f"{file}#{digests[file]}" for file in lock.environments[environment]]
    subdir = lowest(lock.targets).conda_subdir
    return "\n".join([f"# platform: {subdir}", "@EXPLICIT", *lines, ""])


def install(channel: Path, files: Sequence[str], place: Path, prefix: str, cache: Path) -> None:
    """Install packages of a channel in a folder that will be `prefix` to what runs there.

    Args:
        channel: folder of the channel.
        files: the packages, relative to it.
        place: the folder.
        prefix: the path that is written into the files.
        cache: takes the unpacked packages; on one filesystem with `place`, files are hard links.

    Raises:
        LandbridgeError: py-rattler failed; the message has its words.
    """
    job = {"channel": str(channel), "files": list(files), "place": str(place)}
    _ask_rattler("install", **job, prefix=prefix, cache=str(cache))


def unpacked_bytes(files: list[Path]) -> list[int]:
    """Bytes of each package once it is unpacked; environments are hard links to that."""
    names = [str(file) for file in files]
    sizes = _ask_rattler("sizes", files=names) if names else {}
    return [sizes[name] for name in names]


def _urls(channels: list[str]) -> list[str]:
    """The channels' URLs; rattler is asked for those that are names."""
    if all("://" in channel for channel in channels):
        return [channel.rstrip("/") for channel in channels]
    urls: list[str] = _ask_rattler("channels", channels=channels)
    return urls


def _locked(environment: str, kept: Kept | None) -> dict[str, Any]:
    """What an environment's solver is told of the older lock."""
    if kept is None:
        return {"locked": [], "update": []}
    files = {f"{CHANNEL}/{file}" for file in kept.lock.environments.get(environment, [])}
    places: dict[tuple[str, str], dict[str, Any]] = {}
    for artifact in kept.of("conda"):
        if artifact.path in files:
            channel, subdir, file = artifact.url.rsplit("/", 2)
            places.setdefault((channel, subdir), {})[file] = artifact.record
    locked = [(*place, _repodata(place[1], records)) for place, records in places.items()]
    return {"locked": locked, "update": sorted(kept.update)}


def _repodata(subdir: str, records: dict[str, Any]) -> dict[str, Any]:
    """What `repodata.json` holds (conda's channel format), for records by file name."""
    return {
        "info": {"subdir": subdir},
        "packages": {f: r for f, r in records.items() if f.endswith(".tar.bz2")},
        "packages.conda": {f: r for f, r in records.items() if f.endswith(".conda")},
        "removed": [],
        "repodata_version": 1,
    }


def _fetched(channels: list[str], subdir: str, learner: Learner) -> list[tuple[str, str, str]]:
    """Each channel's index files, fetched and unpacked: URL of the channel, subdir, file."""
    wanted = [(channel, part) for channel in channels for part in (subdir, "noarch")]
    with ThreadPoolExecutor() as pool:
        files = list(pool.map(lambda place: _index_file(place[0], place[1], learner), wanted))
    return [(*place, str(file)) for place, file in zip(wanted, files, strict=True) if file]


def _index_file(channel: str, subdir: str, learner: Learner) -> Path | None:
    """`repodata.json` of one subdir, packed where the channel has it so.

    Every channel has `noarch`; one without packages for a platform may lack that.
    """
    base = f"{channel}/{subdir}/repodata.json"
    with suppress(Missing):
        return _unpacked(f"{base}.zst", learner)
    try:
        return learner.metadata(base)
    except Missing:
        if subdir == "noarch":
            raise
        return None


def _unpacked(url: str, learner: Learner) -> Path:
    """A .zst file of a source, unpacked once: the cache holds the newest one of each URL."""
    try:
        import zstandard  # noqa: PLC0415
    except ImportError as error:
        raise _lacking(error) from error
    packed = learner.metadata(url)
    folder = learner.folder(f"repodata/{hashlib.sha256(url.encode()).hexdigest()[:16]}")
    file = folder / f"{sha256_of(packed)}.json"
    if file.exists():
        return file
    with scratch(folder) as work, packed.open("rb") as source:
        made = work / file.name
        try:
            with made.open("wb") as target:
                zstandard.ZstdDecompressor().copy_stream(source, target)
        except zstandard.ZstdError as error:
            raise SourceError(f"{url}: cannot be unpacked: {error}", "sync the mirror") from error
        made.replace(file)
    for older in folder.glob("*.json"):
        if older != file:
            older.unlink()
    return file


def _lacking(error: ImportError) -> InputError:
    """Nodes read bundles without what only building needs."""
    mend = "pip install 'landbridge[build]'"
    return InputError(f"the distribution `{error.name}` is not installed", mend)


def _virtual_packages(platform: Platform) -> list[tuple[str, str, str]]:
    glibc = ".".join(str(number) for number in platform.glibc)
    return [
        ("__unix", "0", "0"),
        ("__linux", platform.kernel, "0"),
        ("__glibc", glibc, "0"),
        ("__archspec", "1", platform.microarch),
    ]


def _ask_rattler(work: str, **job: Any) -> Any:
    command = [sys.executable, "-m", "landbridge.ecosystems._rattler"]
    text = json.dumps({"work": work, **job})
    return json.loads(run(command, package="py-rattler", stdin=text).stdout)


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
        license=record.get("license") or "",
        released=_day(record.get("timestamp")),
        record=dict(sorted({**entry, "sha256": sha256, "size": size}.items())),
    )


def _day(timestamp: int | None) -> str:
    """Day of a record's timestamp: milliseconds since 1970, in old records seconds."""
    if not timestamp:
        return ""
    # conda's own rule: seconds of more than the year 9999 are milliseconds.
    seconds = timestamp / 1000 if timestamp > 253402300799 else timestamp
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


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
