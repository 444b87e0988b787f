"""`landbridge verify`: check this machine, or an inventory, against its depot."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from landbridge.checking import Check
from landbridge.cli.options import Inventory
from landbridge.content import content_root
from landbridge.errors import NodeError
from landbridge.run.command import ansible_environment
from landbridge.run.history import record
from landbridge.verify import verify as run_checks

LOCAL = "local"
STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


def verify(
    *,
    inventory: Inventory = None,
    host: Annotated[
        str, typer.Option(help="Only this host or group; `local` is this very machine.")
    ] = LOCAL,
    only: Annotated[
        list[str] | None, typer.Option(metavar="AREA[,AREA]", help="Only these areas.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the results as JUnit XML.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Run the host checks on this machine, or on the hosts of an inventory."""
    root, started = content_root(), time.monotonic()
    chosen = [area.strip() for text in only or [] for area in text.split(",") if area.strip()]
    show = _Progress(sys.stderr, silent=as_json)
    with record("verify", sys.argv) as kept:

        def seen(check: Check, total: int) -> None:
            show(check, total)
            kept.write(f"{_line(check)}\n{check.message}".rstrip())

        checks = run_checks(
            root,
            (inventory or root / "inventories" / "local").absolute(),
            environment=ansible_environment(root, Path(sys.prefix), os.environ),
            pattern="all" if host == LOCAL else host,
            only=chosen,
            junit=junit,
            seen=seen,
        )
        ok = all(check.outcome == "passed" for check in checks)
        result = {"ok": ok, "checks": [asdict(check) for check in checks]}
        kept.result = result
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        _print(checks, time.monotonic() - started)
    if not ok:
        raise typer.Exit(NodeError.exit_code)


class _Progress:
    """A counter on a terminal, one line per check elsewhere."""

    def __init__(self, stream: TextIO, *, silent: bool) -> None:
        self._stream, self._silent, self._done = stream, silent, 0

    def __call__(self, check: Check, total: int) -> None:
        self._done += 1
        if self._silent:
            return
        line = f"{self._done}/{total} {_line(check)}"
        if self._stream.isatty():
            end = "\n" if self._done == total else ""
            print(f"\r\x1b[2K{line}", end=end, file=self._stream, flush=True)
        else:
            print(line, file=self._stream, flush=True)


def _line(check: Check) -> str:
    return f"{check.outcome}: {check.host} {check.area}: {check.name}"


def _print(checks: list[Check], seconds: float) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table("host", "area", "check", "result", title="landbridge verify")
    table.add_column("seconds", justify="right")
    for check in checks:
        result = Text(check.outcome, STYLES[check.outcome])
        table.add_row(check.host, check.area, Text(check.name), result, f"{check.seconds:.2f}")
    console.print(table)
    failed = [check for check in checks if check.outcome != "passed"]
    for check in failed:
        typer.echo(f"{check.host}: {check.area}: {check.name}: {check.outcome}\n{check.message}\n")
    typer.echo(
        f"{len(checks)} checks, {len(checks) - len(failed)} passed, {len(failed)} not, "
        f"{seconds:.1f} s"
    )
