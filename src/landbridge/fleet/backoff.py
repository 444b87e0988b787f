"""After failures a node asks again later and later, so that a fault does not become a storm."""

from __future__ import annotations

import json
from pathlib import Path

from landbridge.files import write_file

FILE = Path("/var/lib/landbridge/pull-failures.json")
LONGEST = 24 * 3600


class Backoff:
    """How often in a row a pull has failed, and until when it is left alone.

    Args:
        minutes: until the next attempt after the first failure.
        file: where that is remembered.
    """

    def __init__(self, minutes: int, file: Path = FILE) -> None:
        self._seconds = 60 * minutes
        self._file = file

    def until(self) -> float:
        """Seconds since 1970 before which a scheduled pull does nothing; 0 for no such time."""
        return float(self._state()["until"])

    def failed(self, now: float) -> None:
        """Remember one failure more."""
        failures = int(self._state()["failures"]) + 1
        # The exponent is bounded: a node may fail for years.
        wait = min(self._seconds * 2 ** min(failures - 1, 20), LONGEST)
        state = {"failures": failures, "until": now + wait}
        write_file(self._file, json.dumps(state) + "\n", 0o600)

    def succeeded(self) -> None:
        """Forget the failures."""
        self._file.unlink(missing_ok=True)

    def _state(self) -> dict[str, float]:
        try:
            state = json.loads(self._file.read_text(encoding="utf-8"))
            return {"failures": state["failures"], "until": state["until"]}
        except (OSError, ValueError, KeyError, TypeError):
            # What cannot be read must keep no node from its releases.
            return {"failures": 0, "until": 0}
