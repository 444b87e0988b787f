"""Nodes that the runs so far have left behind: failed, or out of reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from landbridge.errors import InputError


@dataclass(frozen=True)
class About:
    """What makes two runs about the same thing."""

    inventory: str
    tags: str | None
    check: bool

    def as_dict(self) -> dict[str, Any]:
        """For the record of a run."""
        return asdict(self)


def left_behind(folder: Path, verb: str, about: About) -> list[str]:
    """Nodes whose last run failed or did not reach them, sorted.

    Args:
        folder: where runs are recorded.
        verb: whose runs count.
        about: only these runs count; what a check found mends nothing.

    Raises:
        InputError: there is no such run.
    """
    last: dict[str, bool] = {}
    runs = 0
    for result in _newest_first(folder, verb):
        if result.get("about") != about.as_dict():
            continue
        runs += 1
        for name, counts in result.get("hosts", {}).items():
            last.setdefault(name, not (counts["failures"] or counts["dark"]))
    if not runs:
        raise InputError(
            f"--retry: {folder} has no record of such a run over {about.inventory}",
            "run it without --retry first, as the same user and with the same --tags",
        )
    return sorted(name for name, well in last.items() if not well)


def _newest_first(folder: Path, verb: str) -> Iterator[Mapping[str, Any]]:
    """Results of the runs of a verb; what was broken off has no nodes."""
    for path in sorted(folder.glob(f"*-{verb}.json"), reverse=True):
        try:
            result = json.loads(path.read_text(encoding="utf-8"))["result"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: cannot be read: {error}", "remove it") from error
        yield result
