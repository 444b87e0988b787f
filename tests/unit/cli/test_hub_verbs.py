"""`landbridge users` and `landbridge drain`, with a run of Ansible that is played back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landbridge.cli.main import app
from landbridge.errors import InputError, NodeError
from landbridge.run import asked
from tests.unit.cli import played
from tests.unit.cli.played import STATS, UNREACHABLE, Run
from tests.unit.test_hub import answer


def answered(host: str, **changes: Any) -> dict[str, Any]:
    return played.answered(host, "landbridge_hub", answer(**changes))


NO_HUB = played.answered("n2", "landbridge_hub", {"hub": None})
EMPTY = answered("n1", users=[], closed="until noon", stopped=[{"user": "alice", "server": ""}])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a command over these events."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {n1: {}, n2: {}}}\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # no record is kept

    def invoke(*arguments: str, events: tuple[Any, ...] = ()) -> Any:
        seen = Run(events)
        monkeypatch.setattr(asked, "run_playbook", seen)
        done = CliRunner().invoke(app, [*arguments, "--inventory", str(inventory)])
        return done, seen

    return invoke


def test_users_are_listed_where_there_is_a_hub(run: Any) -> None:
    done, seen = run("users", events=(answered("n1"), NO_HUB, STATS))
    assert done.exit_code == 0
    assert done.stdout.startswith("n1: 2 users, 2 servers; open\n")
    assert "n2" not in done.stdout
    assert seen.variables == {}
    assert seen.playbook.path.name == "hub.yml"


def test_json_is_data_and_nothing_else(run: Any) -> None:
    done, _ = run("users", "--json", events=(answered("n1"), UNREACHABLE, STATS))
    assert done.exit_code == 1
    shown = json.loads(done.stdout)
    assert shown["ok"] is False
    assert [user["name"] for user in shown["nodes"]["n1"]["users"]] == ["bob", "alice"]
    assert shown["unreachable"] == {"n2": "no route"}


def test_no_hub_at_all_is_an_error(run: Any) -> None:
    done, _ = run("users", events=(NO_HUB, STATS))
    assert isinstance(done.exception, NodeError)
    assert "no hub on n2" in str(done.exception)


def test_drain_says_what_was_stopped(run: Any) -> None:
    words = ("drain", "--message", "until noon", "--wait", "5")
    done, seen = run(*words, events=(EMPTY, STATS))
    assert done.exit_code == 0
    assert done.stdout.startswith("n1: stopped alice\nn1: 0 users, 0 servers; closed: until noon")
    assert seen.variables == {
        "jupyterhub_hub_state": "drained",
        "jupyterhub_drain_message": "until noon",
        "jupyterhub_drain_stop": "idle",
        "jupyterhub_drain_wait": 300,
    }


def test_drain_fails_while_somebody_works(run: Any) -> None:
    done, _ = run("drain", events=(answered("n1"), STATS))
    assert isinstance(done.exception, NodeError)
    assert "servers still run on n1: alice, alice/two words" in str(done.exception)


def test_undo_opens(run: Any) -> None:
    done, seen = run("drain", "--undo", events=(answered("n1"), STATS))
    assert done.exit_code == 0
    assert seen.variables["jupyterhub_hub_state"] == "open"


@pytest.mark.parametrize("words", [("--undo", "--now"), ("--now", "--wait", "5")])
def test_options_that_exclude_each_other(run: Any, words: tuple[str, ...]) -> None:
    done, _ = run("drain", *words)
    assert isinstance(done.exception, InputError)
