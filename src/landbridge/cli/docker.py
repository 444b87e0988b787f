"""`landbridge docker`: what Docker holds on nodes, before Podman takes its place."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import Annotated

import typer

from landbridge.cli.lazy import group
from landbridge.cli.options import AsJson, Inventory
from landbridge.content import content_root
from landbridge.docker.quadlets import quadlets
from landbridge.docker.report import report
from landbridge.docker.survey import Survey, parse
from landbridge.errors import InputError, NodeError
from landbridge.run.asked import ask
from landbridge.run.command import Playbook

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
    result, found = ask(playbook, "docker-survey", MODULE, silent=as_json)
    answers = {node: answer["survey"] for node, answer in found.items()}
    nodes = {node: parse(node, answer) for node, answer in sorted(answers.items())}
    if as_json:
        faults = {"unreachable": result.unreachable, "failures": list(map(asdict, result.failures))}
        typer.echo(json.dumps({"ok": result.ok, "nodes": answers, **faults}, indent=2))
        raise typer.Exit(0 if result.ok else NodeError.exit_code)
    _print(nodes, as_quadlets=as_quadlets)
    if not result.ok:
        raise NodeError("\n".join(result.report()), "mend it and run the command again")


def _print(nodes: dict[str, Survey], *, as_quadlets: bool) -> None:
    width = min(shutil.get_terminal_size((WIDTH, 0)).columns, 2 * WIDTH)
    for number, (node, found) in enumerate(nodes.items()):
        if as_quadlets:
            typer.echo(f"---\n{quadlets(node, found)}", nl=False)
        else:
            typer.echo(("\n" if number else "") + report(node, found, width))
