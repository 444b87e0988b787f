"""What verbs share that ask the hubs of an inventory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from landbridge.content import content_root
from landbridge.errors import NodeError
from landbridge.run.asked import ask
from landbridge.run.command import Playbook
from landbridge.run.result import RunResult


@dataclass(frozen=True)
class Asked:
    """What a verb asks for: a playbook, the module whose answers count, the role's variables."""

    verb: str
    playbook: str
    module: str
    variables: Mapping[str, Any]


def ask_hubs(
    asked: Asked, inventory: Path | None, limit: str | None, *, silent: bool
) -> tuple[RunResult, dict[str, dict[str, Any]]]:
    """How the run went, and the module's answer by node, in the nodes' order.

    Args:
        asked: what is asked for.
        inventory: whom; None for this machine.
        limit: only these hosts of it.
        silent: no progress is shown.
    """
    root = content_root()
    # In a file: Ansible splits `key=value` at blanks, which messages have.
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(asked.variables, file)
        file.flush()
        playbook = Playbook(
            path=root / "playbooks" / asked.playbook,
            inventory=(inventory or root / "inventories" / "local").absolute(),
            limit=limit,
            extra_vars=(f"@{file.name}",),
        )
        result, answers = ask(playbook, asked.verb, asked.module, silent=silent)
    return result, dict(sorted(answers.items()))


def be_there(result: RunResult, nodes: Mapping[str, Any], hubs: Mapping[str, Any]) -> None:
    """Be sure that somebody answered.

    Raises:
        NodeError: none of the nodes has a hub.
    """
    if result.ok and not hubs:
        raise NodeError(
            f"no hub on {', '.join(nodes)}",
            "name the hub's host with --limit, or its inventory with --inventory",
        )


def be_well(result: RunResult) -> None:
    """Be sure that every node answered.

    Raises:
        NodeError: one of them did not, or failed.
    """
    if not result.ok:
        raise NodeError("\n".join(result.report()), "mend it and run the command again")


def as_data(result: RunResult, nodes: Mapping[str, Any]) -> str:
    """The answers as JSON, with what went wrong."""
    faults = {"unreachable": result.unreachable, "failures": list(map(asdict, result.failures))}
    return json.dumps({"ok": result.ok, "nodes": nodes, **faults}, indent=2)
