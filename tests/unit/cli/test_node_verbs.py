"""`landbridge node`, with a run of Ansible that is played back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landbridge.errors import InputError, NodeError
from tests.unit.cli import played
from tests.unit.cli.played import STATS

FOUND: dict[str, Any] = {
    "release": "EL 10",
    "python": "3.12",
    "clock_seconds": 0,
    "free_mib": {"/opt": 9000},
    "problems": [],
}
CLOCK = {"problem": "its clock is 3600 s behind this machine's", "mend": "set it"}
UNREACHABLE = {
    "event": "runner_on_unreachable",
    "event_data": {"host": "n3", "res": {"msg": "no route"}},
}
GOOD_STATS = {"event": "playbook_on_stats", "event_data": {"processed": {"n3": 1}, "ok": {"n3": 1}}}
BAD_STATS = {
    "event": "playbook_on_stats",
    "event_data": {"processed": {"n3": 1}, "failures": {"n3": 1}},
}


def answered(**changes: Any) -> dict[str, Any]:
    return played.answered("n3", "landbridge_node", {"node": {**FOUND, **changes}})


def failed(task: str, message: str) -> dict[str, Any]:
    data = {"host": "n3", "task": task, "task_path": "x", "res": {"msg": message}}
    return {"event": "runner_on_failed", "event_data": data}


def inventory_of(seen: Any) -> Path:
    return Path(seen.playbook.inventory)


def test_a_good_machine_is_added_and_told_what_comes_next(run_verb: Any) -> None:
    words = ("node", "add", "n3", "--group", "hub", "--address", "10.0.0.3")
    done, seen = run_verb(*words, events=(answered(), GOOD_STATS))
    assert done.exit_code == 0, done.output
    text = inventory_of(seen).read_text()
    assert "hub:\n      hosts:\n        n3:\n          ansible_host: 10.0.0.3\n" in text
    assert f"landbridge apply --inventory {inventory_of(seen)} --limit n3" in done.stdout
    assert seen.playbook.limit == "n3"
    assert len(seen.playbook.more_inventories) == 1


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((answered(problems=[CLOCK]), GOOD_STATS), "its clock is 3600 s behind"),
        ((UNREACHABLE, GOOD_STATS), "cannot be reached over SSH: no route"),
        ((failed("Become root and look", "Missing sudo password"), BAD_STATS), "no root by become"),
        ((failed("Reach the node and its Python", "not found"), BAD_STATS), "no Python there"),
    ],
)
def test_a_bad_machine_is_not_added(run_verb: Any, events: Any, said: str) -> None:
    done, seen = run_verb("node", "add", "n3", events=events)
    assert isinstance(done.exception, NodeError)
    assert said in done.stdout
    assert "mend: " in done.stdout
    assert "n3" not in inventory_of(seen).read_text()


def test_json_is_data(run_verb: Any) -> None:
    words = ("node", "check", "--json")
    done, _ = run_verb(*words, events=(answered(problems=[CLOCK]), GOOD_STATS))
    shown = json.loads(done.stdout)
    assert shown["ok"] is False
    assert shown["nodes"]["n3"]["problems"] == [CLOCK]


def test_an_inventory_is_judged_before_the_machine(run_verb: Any) -> None:
    done, seen = run_verb("node", "add", "n1")
    assert isinstance(done.exception, InputError)
    assert "hosts.yml: n1: is in group all already" in str(done.exception)
    assert seen.playbook is None


@pytest.mark.parametrize("text", ["novalue", "1=2", "a={"])
def test_a_wrong_variable_is_named(run_verb: Any, text: str) -> None:
    done, _ = run_verb("node", "add", "n3", "--var", text)
    assert isinstance(done.exception, InputError)
    assert "--var" in str(done.exception)


def test_remove(run_verb: Any) -> None:
    done, _ = run_verb("node", "remove", "n2")
    assert done.exit_code == 0
    assert "n2 is removed" in done.stdout


def test_nobody_took_part(run_verb: Any) -> None:
    done, _ = run_verb("node", "check", "--limit", "zz", events=())
    assert isinstance(done.exception, NodeError)
    assert "no host took part" in str(done.exception)


def test_an_answer_of_another_version(run_verb: Any) -> None:
    done, _ = run_verb("node", "check", events=(answered(color="red"), STATS))
    assert isinstance(done.exception, NodeError)
    assert "not an answer of module landbridge_node" in str(done.exception)
