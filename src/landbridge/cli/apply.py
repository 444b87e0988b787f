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
from landbridge.errors import InputError, NodeError, UnreachableError
from landbridge.fleet.left import About, left_behind
from landbridge.run.command import Playbook, ansible_environment
from landbridge.run.history import record, record_folder
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
        list[str] | None, typer.Option("--extra-vars", "-e", metavar="KEY=VALUE|@FILE|JSON")
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Only nodes that failed or were out of reach so far.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Converge this machine, or the hosts of an inventory: `ansible-playbook site.yml`.

    Exit code 4: nodes were out of reach, and nothing failed on the others.
    """
    root = content_root()
    place = (inventory or root / "inventories" / "local").absolute()
    about = About(str(place), tags, check)
    if retry:
        limit = _left(about, limit)
        if not limit:
            typer.echo(json.dumps({"ok": True, "hosts": {}}) if as_json else "no node is left")
            return
    playbook = Playbook(
        path=root / "site.yml",
        inventory=place,
        limit=limit,
        tags=tags,
        check=check,
        diff=diff,
        extra_vars=tuple(_absolute(text) for text in extra_vars or []),
    )
    result, log = _run(playbook, root, about, silent=as_json)
    fault = UnreachableError if result.only_unreachable else NodeError
    if as_json:
        typer.echo(json.dumps({**result.as_dict(), "log": str(log)}, indent=2))
        raise typer.Exit(0 if result.ok else fault.exit_code)
    _print_counts(result)
    if not result.ok:
        again = "--retry takes the nodes that are left" if inventory else "run the command again"
        raise fault("\n".join(result.report()), f"see {log}, mend it; {again}")


def _left(about: About, limit: str | None) -> str:
    """The nodes that are left, as a limit; empty for none."""
    if limit:
        raise InputError("--retry and --limit exclude each other", "give one of them")
    return ",".join(left_behind(record_folder(), "apply", about))


def _run(playbook: Playbook, root: Path, about: About, *, silent: bool) -> tuple[RunResult, Path]:
    environment = ansible_environment(root, Path(sys.prefix), os.environ)
    command = ["ansible-playbook", *playbook.shown()]
    with record("apply", command) as kept, display(sys.stderr, silent=silent) as show:

        def seen(event: Event, result: RunResult) -> None:
            show(event, result)
            kept.write(str(event.get("stdout", "")))

        result = run_playbook(playbook, environment, seen)
        kept.result = {**result.as_dict(), "about": about.as_dict()}
    return result, kept.log_path


def _absolute(text: str) -> str:
    return f"@{Path(text[1:]).absolute()}" if text.startswith("@") else text


def _print_counts(result: RunResult) -> None:
    shown: dict[str, Any] = {"dark": "unreachable", "failures": "failed"}
    for host, counts in result.hosts.items():
        words = [f"{shown.get(kind, kind)}={count}" for kind, count in counts.items()]
        typer.echo(f"{host}: {' '.join(words)}")
    typer.echo(f"{result.tasks} tasks in {result.seconds} s")
