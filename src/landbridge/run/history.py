"""What is kept of a run: when, by whom, what, with which result, and Ansible's own words."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

LOG_FOLDER = Path("/var/log/landbridge")
FOLDER_MODE = 0o750
FILE_MODE = 0o640


class Record:
    """One run's two files: `<time>-<verb>.log` as it goes, `<time>-<verb>.json` at its end."""

    def __init__(self, stem: Path, log: TextIO) -> None:
        self._stem = stem
        self._log = log
        self._started = datetime.now(UTC)

    @property
    def log_path(self) -> Path:
        """Where Ansible's own words are."""
        return Path(f"{self._stem}.log")

    def write(self, text: str) -> None:
        """Keep a piece of Ansible's output."""
        if text:
            self._log.write(text + "\n")
            self._log.flush()

    def close(self, command: list[str], result: Mapping[str, Any]) -> None:
        """Write the summary, complete or not at all."""
        summary = {
            "started": self._started.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": invoker(os.environ),
            "command": command,
            "result": dict(result),
        }
        target = Path(f"{self._stem}.json")
        temporary = target.with_suffix(".json.new")
        temporary.touch(mode=FILE_MODE)
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(summary, file, indent=2, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)


@contextmanager
def record(verb: str, folder: Path = LOG_FOLDER) -> Iterator[Record | None]:
    """Open the record of a run; None for anyone but root, who alone may write the folder.

    Args:
        verb: the command's name, part of the file names.
        folder: where records are kept; made if missing.
    """
    if os.geteuid() != 0:
        yield None
        return
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    stem = folder / f"{moment}-{verb}"
    log_path = Path(f"{stem}.log")
    log_path.touch(mode=FILE_MODE, exist_ok=False)
    with log_path.open("w", encoding="utf-8") as log:
        yield Record(stem, log)


def invoker(environment: Mapping[str, str]) -> str:
    """Who asked for it: the user behind sudo, else the user of this process."""
    return environment.get("SUDO_USER") or getpass.getuser()
