"""`landbridge docker`: what Docker holds on nodes, before Podman takes its place."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from landbridge.cli.lazy import group
from landbridge.cli.options import AsJson, Inventory
from landbridge.content import content_root
from landbridge.docker.quadlets import quadlets
from landbridge.docker.report import report
from landbridge.docker.survey import Survey, parse
from landbridge.errors import InputError, NodeError
from landbridge.run.command import Playbook, ansible_environment
from landbridge.run.history import record
from landbridge.run.progress import display
from landbridge.run.result import Event, RunResult
from landbridge.run.runner import run_playbook

MODULE = "landbridge_docker_survey"
WIDTH = 100

app = group(
    "Look at Docker on nodes, before Podman takes its place.",
    {
        "survey": (
            "docker:survey",
            "List what Docker holds and what each thing needs under Podman; nothing is changed.",
        )
    },
)


def survey(
    *,
    inventory: Inventory = None,
    limit: Annotated[str | None, typer.Option(help="Only these hosts.")] = None,
    as_json: AsJson = False,
    as_quadlets: Annotated[
        bool, typer.Option("--quadlets", help="Print the containers as YAML for an inventory.")
    ] = False,
) -> None:
    """List what Docker holds and what each thing needs under Podman; nothing is changed.

    Docker is never started. Where it is stopped, what lies in its data directory is counted.
    """
    if as_json and as_quadlets:
        raise InputError("--json and --quadlets exclude each other", "give one of them")
    root = content_root()
    playbook = Playbook(
        path=root / "playbooks" / "docker-survey.yml",
        inventory=(inventory or root / "inventories" / "local").absolute(),
        limit=limit,
    )
    result, answers = _run(playbook, silent=as_json)
    nodes = {node: parse(node, answer) for node, answer in sorted(answers.items())}
    if as_json:
        faults = {"unreachable": result.unreachable, "failures": list(map(asdict, result.failures))}
        typer.echo(json.dumps({"ok": result.ok, "nodes": answers, **faults}, indent=2))
        raise typer.Exit(0 if result.ok else NodeError.exit_code)
    _print(nodes, as_quadlets=as_quadlets)
    if not result.ok:
        raise NodeError("\n".join(result.report()), "mend it and run the command again")


def _run(playbook: Playbook, *, silent: bool) -> tuple[RunResult, dict[str, Any]]:
    """Run the playbook; the answers are the module's own, not its printed words."""
    environment = ansible_environment(content_root(), Path(sys.prefix), os.environ)
    answers: dict[str, Any] = {}
    command = ["ansible-playbook", *playbook.shown()]
    with record("docker-survey", command) as kept, display(sys.stderr, silent=silent) as show:

        def seen(event: Event, result: RunResult) -> None:
            show(event, result)
            data = event.get("event_data", {})
            if event.get("event") == "runner_on_ok" and data.get("task_action") == MODULE:
                answers[data["host"]] = data["res"]["survey"]
            if kept:
                kept.write(str(event.get("stdout", "")))

        result = run_playbook(playbook, environment, seen)
        if kept:
            kept.result = result.as_dict()
    return result, answers


def _print(nodes: dict[str, Survey], *, as_quadlets: bool) -> None:
    width = min(shutil.get_terminal_size((WIDTH, 0)).columns, 2 * WIDTH)
    for number, (node, found) in enumerate(nodes.items()):
        if as_quadlets:
            typer.echo(f"---\n{quadlets(node, found)}", nl=False)
        else:
            typer.echo(("\n" if number else "") + report(node, found, width))
