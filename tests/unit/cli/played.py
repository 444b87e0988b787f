"""A run of Ansible that is played back to a verb."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landbridge.run.command import Playbook
from landbridge.run.result import RunResult

OTHER = {"event": "runner_on_ok", "event_data": {"host": "n1", "task_action": "setup", "res": {}}}
UNREACHABLE = {
    "event": "runner_on_unreachable",
    "event_data": {"host": "n2", "res": {"msg": "no route"}},
}
STATS = {"event": "playbook_on_stats", "event_data": {"processed": {"n1": 1}, "ok": {"n1": 1}}}


def answered(host: str, module: str, res: dict[str, Any]) -> dict[str, Any]:
    """The event of a module's answer."""
    return {
        "event": "runner_on_ok",
        "event_data": {"host": host, "task_action": module, "res": res},
    }


class Run:
    """Plays the events of a run to whoever looks."""

    def __init__(self, events: Sequence[dict[str, Any]]) -> None:
        self.events = events
        self.playbook: Playbook | None = None
        self.variables: dict[str, Any] = {}

    def __call__(self, playbook: Playbook, _environment: Any, seen: Any) -> RunResult:
        self.playbook = playbook
        for text in playbook.extra_vars:
            self.variables |= json.loads(Path(text.removeprefix("@")).read_text())
        result = RunResult()
        for event in self.events:
            result.add(event)
            seen(event, result)
        result.exit_code = (
            0 if all(e["event"].endswith(("ok", "stats")) for e in self.events) else 4
        )
        return result
