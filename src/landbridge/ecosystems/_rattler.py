"""The solver of conda packages in a process of its own.

py-rattler's runtime may abort while the interpreter shuts down, after the work is done: this
process says its answer and leaves without a shutdown. JSON in, JSON out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import rattler


def virtual_packages(job: dict[str, Any]) -> list[rattler.GenericVirtualPackage]:
    """What the nodes will have, instead of what this machine has."""
    return [
        rattler.GenericVirtualPackage(
            rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
        )
        for name, version, build in job["virtual_packages"]
    ]


async def solve(job: dict[str, Any]) -> dict[str, Any]:
    """Solve every environment of the job."""
    gateway = rattler.Gateway(cache_dir=job["cache"])
    answer: dict[str, Any] = {}
    for name, specs in job["environments"].items():
        try:
            records = await rattler.solve(
                job["channels"],
                specs,
                gateway=gateway,
                platforms=[job["subdir"], "noarch"],
                virtual_packages=virtual_packages(job),
            )
        except Exception as error:  # rattler's exceptions have no common base
            return {"environment": name, "kind": type(error).__name__, "fault": str(error)}
        ordered = rattler.RepoDataRecord.sort_topologically(list(records))
        answer[name] = [json.loads(record.to_json()) for record in ordered]
    return {"environments": answer}


def sizes(job: dict[str, Any]) -> dict[str, int]:
    """Bytes of each package file once it is unpacked."""
    return {
        file: sum(
            entry.size_in_bytes or 0
            for entry in rattler.PathsJson.from_package_archive(Path(file)).paths
        )
        for file in job["files"]
    }


def main() -> None:
    """Answer one job and be gone."""
    job = json.load(sys.stdin)
    result = asyncio.run(solve(job)) if "environments" in job else sizes(job)
    json.dump(result, sys.stdout)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
