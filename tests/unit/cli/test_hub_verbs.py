"""`landbridge users` and `landbridge drain`, with a run of Ansible that is played back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from landbridge.errors import InputError, NodeError
from tests.unit.cli import played
from tests.unit.cli.played import STATS, UNREACHABLE
from tests.unit.test_hub import answer


def answered(host: str, **changes: Any) -> dict[str, Any]:
    return played.answered(host, "landbridge_hub", answer(**changes))


NO_HUB = played.answered("n2", "landbridge_hub", {"hub": None})
EMPTY = answered("n1", users=[], closed="until noon", stopped=[{"user": "alice", "server": ""}])


def test_users_are_listed_where_there_is_a_hub(run_verb: Any) -> None:
    done, seen = run_verb("users", events=(answered("n1"), NO_HUB, STATS))
    assert done.exit_code == 0
    assert done.stdout.startswith("n1: 2 users, 2 servers; open\n")
    assert "n2" not in done.stdout
    assert seen.variables == {}
    assert seen.playbook.path.name == "hub.yml"


def test_json_is_data_and_nothing_else(run_verb: Any) -> None:
    done, _ = run_verb("users", "--json", events=(answered("n1"), UNREACHABLE, STATS))
    assert done.exit_code == 1
    shown = json.loads(done.stdout)
    assert shown["ok"] is False
    assert [user["name"] for user in shown["nodes"]["n1"]["users"]] == ["bob", "alice"]
    assert shown["unreachable"] == {"n2": "no route"}


def test_no_hub_at_all_is_an_error(run_verb: Any) -> None:
    done, _ = run_verb("users", events=(NO_HUB, STATS))
    assert isinstance(done.exception, NodeError)
    assert "no hub on n2" in str(done.exception)


def test_drain_says_what_was_stopped(run_verb: Any) -> None:
    words = ("drain", "--message", "until noon", "--wait", "5")
    done, seen = run_verb(*words, events=(EMPTY, STATS))
    assert done.exit_code == 0
    assert done.stdout.startswith("n1: stopped alice\nn1: 0 users, 0 servers; closed: until noon")
    assert seen.variables == {
        "jupyterhub_hub_state": "drained",
        "jupyterhub_drain_message": "until noon",
        "jupyterhub_drain_stop": "idle",
        "jupyterhub_drain_wait": 300,
    }


def test_drain_fails_while_somebody_works(run_verb: Any) -> None:
    done, _ = run_verb("drain", events=(answered("n1"), STATS))
    assert isinstance(done.exception, NodeError)
    assert "servers still run on n1: alice, alice/two words" in str(done.exception)


def test_undo_opens(run_verb: Any) -> None:
    done, seen = run_verb("drain", "--undo", events=(answered("n1"), STATS))
    assert done.exit_code == 0
    assert seen.variables["jupyterhub_hub_state"] == "open"


@pytest.mark.parametrize("words", [("--undo", "--now"), ("--now", "--wait", "5")])
def test_options_that_exclude_each_other(run_verb: Any, words: tuple[str, ...]) -> None:
    done, _ = run_verb("drain", *words)
    assert isinstance(done.exception, InputError)
