"""What one module answers on every node, for verbs that look at nodes through Ansible."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from landbridge.content import content_root
from landbridge.run.command import Playbook, ansible_environment
from landbridge.run.history import record
from landbridge.run.progress import display
from landbridge.run.result import Event, RunResult
from landbridge.run.runner import run_playbook


def ask(
    playbook: Playbook, verb: str, module: str, *, silent: bool
) -> tuple[RunResult, dict[str, dict[str, Any]]]:
    """Run a playbook; the answers are the module's own, not its printed words.

    Args:
        playbook: what to run.
        verb: what the record of the run is called.
        module: the module whose results are the answers.
        silent: no progress is shown.

    Returns:
        How the run went, and the module's result by node.
    """
    environment = ansible_environment(content_root(), Path(sys.prefix), os.environ)
    answers: dict[str, dict[str, Any]] = {}
    command = ["ansible-playbook", *playbook.shown()]
    with record(verb, command) as kept, display(sys.stderr, silent=silent) as show:

        def seen(event: Event, result: RunResult) -> None:
            show(event, result)
            data = event.get("event_data", {})
            if event.get("event") == "runner_on_ok" and data.get("task_action") == module:
                answers[data["host"]] = data["res"]
            kept.write(str(event.get("stdout", "")))

        result = run_playbook(playbook, environment, seen)
        kept.result = result.as_dict()
    return result, answers
