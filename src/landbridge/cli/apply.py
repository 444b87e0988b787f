"""`landbridge apply`: converge this machine, or an inventory."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from landbridge.cli.options import Inventory
from landbridge.content import content_root
from landbridge.errors import NodeError
from landbridge.run.command import Playbook, ansible_environment
from landbridge.run.history import record
from landbridge.run.progress import display
from landbridge.run.result import Event, RunResult
from landbridge.run.runner import run_playbook


def apply(
    *,
    inventory: Inventory = None,
    limit: Annotated[str | None, typer.Option(help="Only these hosts.")] = None,
    tags: Annotated[str | None, typer.Option(help="Only tasks with these tags.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what changes in files.")] = False,
    extra_vars: Annotated[
        list[str] | None, typer.Option("--extra-vars", "-e", metavar="KEY=VALUE|@FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Converge this machine, or the hosts of an inventory: `ansible-playbook site.yml`."""
    root = content_root()
    playbook = Playbook(
        path=root / "site.yml",
        inventory=(inventory or root / "inventories" / "local").absolute(),
        limit=limit,
        tags=tags,
        check=check,
        diff=diff,
        extra_vars=tuple(_absolute(text) for text in extra_vars or []),
    )
    result, log = _run(playbook, root, silent=as_json)
    if as_json:
        typer.echo(json.dumps({**result.as_dict(), "log": log and str(log)}, indent=2))
        raise typer.Exit(0 if result.ok else NodeError.exit_code)
    _print_counts(result)
    if not result.ok:
        where = f"see {log}, mend it and run the command again" if log else ""
        raise NodeError("\n".join(result.report()), where)


def _run(playbook: Playbook, root: Path, *, silent: bool) -> tuple[RunResult, Path | None]:
    environment = ansible_environment(root, Path(sys.prefix), os.environ)
    command = ["ansible-playbook", *playbook.shown()]
    with record("apply", command) as kept, display(sys.stderr, silent=silent) as show:

        def seen(event: Event, result: RunResult) -> None:
            show(event, result)
            if kept:
                kept.write(str(event.get("stdout", "")))

        result = run_playbook(playbook, environment, seen)
        if kept:
            kept.result = result.as_dict()
    return result, kept.log_path if kept else None


def _absolute(text: str) -> str:
    return f"@{Path(text[1:]).absolute()}" if text.startswith("@") else text


def _print_counts(result: RunResult) -> None:
    shown: dict[str, Any] = {"dark": "unreachable", "failures": "failed"}
    for host, counts in result.hosts.items():
        words = [f"{shown.get(kind, kind)}={count}" for kind, count in counts.items()]
        typer.echo(f"{host}: {' '.join(words)}")
    typer.echo(f"{result.tasks} tasks in {result.seconds} s")
