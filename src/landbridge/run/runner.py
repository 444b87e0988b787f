"""The call: the only module that knows ansible_runner."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ansible_runner

from landbridge.run.command import Playbook
from landbridge.run.result import Event, RunResult


def run_playbook(
    playbook: Playbook, environment: dict[str, str], seen: Callable[[Event, RunResult], None]
) -> RunResult:
    """Run a playbook to its end.

    Args:
        playbook: what to run.
        environment: variables to set over this process's own.
        seen: called with every event and the sums so far.

    Returns:
        The sums; a failed task is a result here, not an exception.
    """
    result = RunResult()
    started = time.monotonic()

    def handle(event: Event) -> bool:
        result.add(event)
        seen(event, result)
        return False  # no event files: the result and the log keep what matters

    with tempfile.TemporaryDirectory(prefix="landbridge-run-") as private:
        _, _, result.exit_code = ansible_runner.run_command(
            executable_cmd=str(Path(sys.prefix) / "bin" / "ansible-playbook"),
            cmdline_args=playbook.arguments(),
            envvars=environment,
            private_data_dir=private,
            event_handler=handle,
            quiet=True,
        )
    result.seconds = round(time.monotonic() - started, 1)
    return result
