"""`landbridge backup` and `landbridge restore`: what a hub knows, and its teams' files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from landbridge.cli.hub_answers import Asked, as_data, ask_hubs, be_there, be_well
from landbridge.cli.options import AsJson, Inventory, Limit
from landbridge.errors import InputError

PLAYBOOK = "backup.yml"
MODULE = "landbridge_hub_backup"


def backup(
    *,
    files: Annotated[
        bool, typer.Option("--files", help="Also what teams have in their folders.")
    ] = False,
    inventory: Inventory = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Make a backup of hubs: their database and, with --files, the teams' folders.

    Each stays on its node; carry it away as any other directory there. Nobody is disturbed.
    """
    variables = {"jupyterhub_backup_state": "made", "jupyterhub_backup_files": files}
    for node, answer in _ask("backup", variables, inventory, limit, as_json=as_json).items():
        typer.echo(f"{node}: {answer['backup']}")


def restore(
    folder: Annotated[
        Path, typer.Argument(metavar="BACKUP", help="The backup's directory on the node.")
    ],
    *,
    inventory: Inventory = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """Put back what a backup holds, into SQLite or PostgreSQL, whichever the hub has now.

    Nobody's server may run (`landbridge drain --now`). The teams' folders of before are kept.
    """
    if not folder.is_absolute():
        raise InputError(
            f"{folder} is no absolute path", "give the one that landbridge backup named"
        )
    variables = {"jupyterhub_backup_state": "restored", "jupyterhub_backup_restored": str(folder)}
    for node, answer in _ask("restore", variables, inventory, limit, as_json=as_json).items():
        typer.echo(f"{node}: restored {answer['backup']}")
        for kept in answer["before"]:
            typer.echo(f"{node}: of before, to be removed by hand: {kept}")


def _ask(
    verb: str,
    variables: Mapping[str, Any],
    inventory: Path | None,
    limit: str | None,
    *,
    as_json: bool,
) -> Mapping[str, Mapping[str, Any]]:
    """What the hubs answer, by node; printed here already as JSON, so that nothing is left."""
    asked = Asked(verb, PLAYBOOK, MODULE, variables)
    result, answers = ask_hubs(asked, inventory, limit, silent=as_json)
    hubs = {
        node: {"backup": answer["backup"], "before": answer["before"]}
        for node, answer in answers.items()
        if answer.get("backup")
    }
    be_there(result, answers, hubs)
    if as_json:
        typer.echo(as_data(result, hubs))
    be_well(result)
    return {} if as_json else hubs
