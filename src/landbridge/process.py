"""Outside tools: found before they are needed, run without a shell, their faults made clear."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from landbridge.errors import LandbridgeError

# Messages are read by programs: they must not be translated.
_LOCALE = {"LC_ALL": "C.UTF-8"}


def run(
    command: Sequence[str | Path],
    *,
    package: str,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end.

    Args:
        command: the program and its arguments.
        package: what to install when the program is missing, for the message.
        stdin: text for its standard input.
        cwd: folder to run in.
        env: variables beside the inherited ones.
        check: whether a non-zero exit is an error.

    Raises:
        LandbridgeError: the program is missing, or failed while `check` is on; the message
            ends with the last lines that it wrote.
    """
    try:
        done = subprocess.run(
            [str(word) for word in command],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **_LOCALE, **(env or {})},
            check=False,
        )
    except FileNotFoundError as error:
        raise LandbridgeError(f"{command[0]}: not found", f"install {package}") from error
    if check and done.returncode:
        raise LandbridgeError(f"{command[0]} failed ({done.returncode}):\n{tail(done)}")
    return done


def tail(done: subprocess.CompletedProcess[str], lines: int = 15) -> str:
    """The last lines of what a tool said, stderr first choice."""
    return "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-lines:])
