"""A node brings itself to the newest release of its depot, and says how that went."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from landbridge import depot as depots
from landbridge.errors import NodeError
from landbridge.facts.gather import SCRIPT as SNAPSHOT
from landbridge.facts.gather import script_command
from landbridge.fleet.reports import Report
from landbridge.fleet.settings import INVENTORY, Settings

COMMAND = Path("/usr/local/bin/landbridge")
# With an URL, role preflight fetches the release; role toolkit installs the toolkit of it.
FIRST = "preflight,toolkit"

Run = Callable[[Sequence[str]], None]


def converge(settings: Settings, run: Run) -> None:
    """Fetch, verify and install the newest release.

    Args:
        settings: of this node.
        run: runs a command to its end.

    Raises:
        LandbridgeError: one of the steps failed; what came before it stays.
    """
    if settings.source:
        depots.receive([Path(settings.source)], settings.depot)
    apply = [str(COMMAND), "apply", "--inventory", str(INVENTORY)]
    apply += ["--extra-vars", "landbridge_pulling=true"]
    # The roles that came with a release converge it: they are the new toolkit's after this.
    run([*apply, "--tags", FIRST])
    run([*apply, *(["--tags", ",".join(settings.tags)] if settings.tags else [])])


def run_here(command: Sequence[str]) -> None:
    """Run a command; what it says is this process's own output.

    Raises:
        NodeError: it failed.
    """
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode:
        said = done.stderr[done.stderr.rfind("error: ") :].removeprefix("error: ").strip()
        raise NodeError(said or f"{command[0]} ended with {done.returncode}", "see its journal")


def report_of(settings: Settings, error: str, now: float | None = None) -> Report:
    """What this node has to say after a pull."""
    return Report(
        name=settings.name,
        time=time.time() if now is None else now,
        release=depots.current(settings.depot) or "-",
        error=error,
        snapshot=_snapshot(settings.depot / "current"),
    )


def _snapshot(release: Path) -> dict[str, object] | None:
    """The node's snapshot; None where it cannot be taken, which the report's error explains."""
    command = script_command(SNAPSHOT, [str(release)])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)
        return None
    found: dict[str, object] = json.loads(done.stdout)
    return found
