"""What is kept of a run: when, by whom, what, with which result, and Ansible's own words."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from landbridge.files import write_file

LOG_FOLDER = Path("/var/log/landbridge")
FOLDER_MODE = 0o750
FILE_MODE = 0o640


class Record:
    """One run's two files: `<time>-<verb>.log` as it goes, `<time>-<verb>.json` at its end.

    Set `result` before the end; a run that ends without one is recorded as broken off.
    """

    def __init__(self, stem: Path, log: TextIO) -> None:
        self.result: Mapping[str, Any] = {"ok": False, "error": "broken off"}
        self._stem = stem
        self._log = log
        self._started = datetime.now(UTC)

    @property
    def log_path(self) -> Path:
        """Where the run's own words are."""
        return Path(f"{self._stem}.log")

    def write(self, text: str) -> None:
        """Keep a piece of the run's output."""
        if text:
            self._log.write(text + "\n")
            self._log.flush()

    def close(self, command: Sequence[str]) -> None:
        """Write the summary, complete or not at all."""
        summary = {
            "started": self._started.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "by": invoker(os.environ),
            "command": list(command),
            "result": dict(self.result),
        }
        text = json.dumps(summary, indent=2, sort_keys=True) + "\n"
        write_file(Path(f"{self._stem}.json"), text, FILE_MODE)


def record_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where runs of this user are recorded: root's are the machine's."""
    if os.geteuid() == 0:
        return LOG_FOLDER
    state = environment.get("XDG_STATE_HOME")
    return Path(state) / "landbridge" if state else Path.home() / ".local/state/landbridge"


@contextmanager
def record(verb: str, command: Sequence[str], folder: Path | None = None) -> Iterator[Record]:
    """Keep the record of a run.

    Args:
        verb: the command's name, part of the file names.
        command: what is run, without secrets.
        folder: where records are kept, made if missing; None is `record_folder`.
    """
    folder = folder or record_folder()
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    stem = folder / f"{moment}-{verb}"
    log_path = Path(f"{stem}.log")
    log_path.touch(mode=FILE_MODE, exist_ok=False)
    with log_path.open("w", encoding="utf-8") as log:
        kept = Record(stem, log)
        try:
            yield kept
        finally:
            kept.close(command)


def invoker(environment: Mapping[str, str]) -> str:
    """Who asked for it: the user behind sudo, else the user of this process."""
    return environment.get("SUDO_USER") or getpass.getuser()
