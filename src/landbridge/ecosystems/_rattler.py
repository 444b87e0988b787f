"""The solver and installer of conda packages in a process of its own.

py-rattler's runtime may abort while the interpreter shuts down, after the work is done: this
process says its answer and leaves without a shutdown. It reads files and nothing else: what
comes over the network is fetched before. JSON in, JSON out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import rattler
from rattler.channel import Channel


def channels(job: dict[str, Any]) -> list[str]:
    """The URL of each channel, which may be given by a name that rattler knows."""
    return [Channel(name).base_url.rstrip("/") for name in job["channels"]]


def solve(job: dict[str, Any]) -> dict[str, Any]:
    """Solve every environment of the job."""
    index = [
        rattler.SparseRepoData(Channel(channel), subdir, path)
        for channel, subdir, path in job["repodata"]
    ]
    answer: dict[str, Any] = {}
    for name, wanted in job["environments"].items():
        try:
            records = asyncio.run(_environment(wanted, index, virtual_packages(job)))
        except Exception as error:  # rattler's exceptions have no common base
            return {"environment": name, "kind": type(error).__name__, "fault": str(error)}
        ordered = rattler.RepoDataRecord.sort_topologically(list(records))
        answer[name] = [json.loads(record.to_json()) for record in ordered]
    return {"environments": answer}


async def _environment(
    wanted: dict[str, Any],
    index: list[rattler.SparseRepoData],
    virtual: list[rattler.GenericVirtualPackage],
) -> list[rattler.RepoDataRecord]:
    """Solve one environment; what is locked stays where nothing speaks against it.

    Locked packages are only preferred, and would keep back an update that they do not fit.
    So the newest of what is to be updated is found without them, and then demanded.
    """
    specs, update = wanted["specs"], set(wanted["update"])
    demanded: list[str] = []
    if wanted["locked"] and update:
        newest = await rattler.solve_with_sparse_repodata(
            specs, sparse_repodata=index, virtual_packages=virtual
        )
        demanded = [
            f"{record.name.normalized} =={record.version} {record.build}"
            for record in newest
            if record.name.normalized in update
        ]
    return await rattler.solve_with_sparse_repodata(
        specs,
        sparse_repodata=index,
        virtual_packages=virtual,
        locked_packages=_records(wanted["locked"]),
        constraints=demanded,
    )


def virtual_packages(job: dict[str, Any]) -> list[rattler.GenericVirtualPackage]:
    """What the nodes will have, instead of what this machine has."""
    return [
        rattler.GenericVirtualPackage(
            rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
        )
        for name, version, build in job["virtual_packages"]
    ]


def _records(locked: list[list[Any]]) -> list[rattler.RepoDataRecord]:
    """rattler's records of what is locked; it reads them from repodata files only."""
    records: list[rattler.RepoDataRecord] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, (channel, subdir, repodata) in enumerate(locked):
            path = Path(scratch, f"{number}.json")
            path.write_text(json.dumps(repodata), encoding="utf-8")
            with rattler.SparseRepoData(Channel(channel), subdir, path) as index:
                records += index.load_all_records()
    return records


def sizes(job: dict[str, Any]) -> dict[str, int]:
    """Bytes of each package file once it is unpacked."""
    return {
        file: sum(
            entry.size_in_bytes or 0
            for entry in rattler.PathsJson.from_package_archive(Path(file)).paths
        )
        for file in job["files"]
    }


def install(job: dict[str, Any]) -> None:
    """Install packages of a channel on disk, in a folder that gets its path only afterwards."""
    os.umask(0o022)  # whatever the builder's: nobody must be able to read them
    channel, wanted = Path(job["channel"]), set(job["files"])
    records: list[rattler.RepoDataRecord] = []
    for subdir in sorted({file.split("/")[0] for file in wanted}):
        data = rattler.RepoData.from_path(channel / subdir / "repodata.json")
        known = data.into_repo_data(Channel(channel.as_uri()))
        found = {f"{subdir}/{record.file_name}": record for record in known}
        records += [found[file] for file in wanted & found.keys()]
        wanted -= found.keys()
    if wanted:
        raise SystemExit(f"not in the channel's index: {', '.join(sorted(wanted))}")
    asyncio.run(_install(job, records))


async def _install(job: dict[str, Any], records: list[rattler.RepoDataRecord]) -> None:
    await rattler.install(
        records,
        job["place"],
        cache_dir=job["cache"],
        show_progress=False,
        client=rattler.Client(),
        alternative_target_prefix=job["prefix"],
    )


def main() -> None:
    """Answer one job and be gone."""
    work = {"channels": channels, "solve": solve, "sizes": sizes, "install": install}
    job = json.load(sys.stdin)
    json.dump(work[job["work"]](job), sys.stdout)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
