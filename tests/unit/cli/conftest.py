"""What tests of verbs share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landbridge.cli import apply
from landbridge.cli.main import app
from landbridge.run import asked
from tests.unit.cli.played import Run


@pytest.fixture
def run_verb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Runs a verb over an inventory; Ansible's run is played back from events."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all:\n  hosts:\n    n1:\n    n2:\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def invoke(*arguments: str, events: tuple[Any, ...] = ()) -> Any:
        seen = Run(events)
        for caller in (asked, apply):
            monkeypatch.setattr(caller, "run_playbook", seen)
        done = CliRunner().invoke(app, [*arguments, "--inventory", str(inventory)])
        return done, seen

    return invoke
