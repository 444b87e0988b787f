"""`landbridge users` and `landbridge drain`: who uses hubs, and hubs closed for maintenance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from landbridge.cli.hub_answers import Asked, as_data, ask_hubs, be_there, be_well
from landbridge.cli.options import AsJson, Inventory, Limit
from landbridge.errors import InputError, NodeError
from landbridge.hub import Hub, called, parse, report
from landbridge.run.result import RunResult

MODULE = "landbridge_hub"


def users(*, inventory: Inventory = None, limit: Limit = None, as_json: AsJson = False) -> None:
    """List the users of hubs, their servers and what these use; nothing is changed."""
    result, hubs = _ask("users", {}, inventory, limit, silent=as_json)
    _print(result, hubs, as_json=as_json)


def drain(
    *,
    inventory: Inventory = None,
    limit: Limit = None,
    message: Annotated[str, typer.Option(help="What users are told.")] = "",
    wait: Annotated[
        int, typer.Option(metavar="MINUTES", min=0, help="Wait so long for servers to be idle.")
    ] = 0,
    now: Annotated[bool, typer.Option("--now", help="Stop all servers, also busy ones.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Open the hub again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Close hubs before maintenance: no server starts, idle ones are stopped, busy ones may end.

    Team servers save what is open before they stop. Exit code 1 while servers still run.
    """
    if undo and (now or wait or message):
        raise InputError("--undo excludes --now, --wait and --message", "give --undo alone")
    if now and wait:
        raise InputError("--now and --wait exclude each other", "give one of them")
    variables = {
        "jupyterhub_hub_state": "open" if undo else "drained",
        "jupyterhub_drain_message": message,
        "jupyterhub_drain_stop": "all" if now else "idle",
        "jupyterhub_drain_wait": 60 * wait,
    }
    result, hubs = _ask("drain", variables, inventory, limit, silent=as_json)
    left = [f"{node}: {', '.join(hub.running)}" for node, hub in hubs.items() if hub.running]
    if not as_json:
        for node, hub in hubs.items():
            for stopped in hub.stopped:
                typer.echo(f"{node}: stopped {called(stopped.user, stopped.server)}")
    _print(result, hubs, as_json=as_json)
    if left and not undo:
        raise NodeError(
            "servers still run on " + "; ".join(left),
            "run it again later, with --wait MINUTES, or with --now to stop them",
        )


def _ask(
    verb: str,
    variables: Mapping[str, Any],
    inventory: Path | None,
    limit: str | None,
    *,
    silent: bool,
) -> tuple[RunResult, dict[str, Hub]]:
    """What the hubs of an inventory answer, by node."""
    asked = Asked(verb, "hub.yml", MODULE, variables)
    result, answers = ask_hubs(asked, inventory, limit, silent=silent)
    parsed = {node: parse(node, answer) for node, answer in answers.items()}
    hubs = {node: hub for node, hub in parsed.items() if hub}
    be_there(result, parsed, hubs)
    return result, hubs


def _print(result: RunResult, hubs: dict[str, Hub], *, as_json: bool) -> None:
    """The hubs; an error afterwards where a node had none to give."""
    if as_json:
        nodes = {node: hub.model_dump(mode="json") for node, hub in hubs.items()}
        typer.echo(as_data(result, nodes))
    elif hubs:
        typer.echo("\n\n".join(report(node, hub) for node, hub in hubs.items()))
    be_well(result)
