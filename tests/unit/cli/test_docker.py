"""`landbridge docker survey`, with a run of Ansible that is played back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from landbridge.cli import docker as verb
from landbridge.cli.main import app
from landbridge.errors import InputError, NodeError
from landbridge.run.command import Playbook
from landbridge.run.result import RunResult
from tests.unit.docker.answers import answer, container


class Run:
    """Plays the events of a run to whoever looks."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.events = events
        self.playbook: Playbook | None = None

    def __call__(self, playbook: Playbook, _environment: Any, seen: Any) -> RunResult:
        self.playbook = playbook
        result = RunResult()
        for event in self.events:
            result.add(event)
            seen(event, result)
        result.exit_code = (
            0 if all(e["event"].endswith(("ok", "stats")) for e in self.events) else 4
        )
        return result


def answered(host: str, **changes: Any) -> dict[str, Any]:
    res = {"survey": answer(**changes)}
    data = {"host": host, "task_action": "landbridge_docker_survey", "res": res}
    return {"event": "runner_on_ok", "event_data": data}


OTHER = {"event": "runner_on_ok", "event_data": {"host": "n1", "task_action": "setup", "res": {}}}
UNREACHABLE = {
    "event": "runner_on_unreachable",
    "event_data": {"host": "n2", "res": {"msg": "no route"}},
}
STATS = {"event": "playbook_on_stats", "event_data": {"processed": {"n1": 1}, "ok": {"n1": 1}}}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs the command over these events."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {n1: {}, n2: {}}}\n")
    monkeypatch.setattr(verb.os, "geteuid", lambda: 1000)  # no record is kept

    def invoke(*arguments: str, events: tuple[Any, ...] = ()) -> Any:
        played = Run(*events)
        monkeypatch.setattr(verb, "run_playbook", played)
        command = ["docker", "survey", "--inventory", str(inventory), *arguments]
        done = CliRunner().invoke(app, command)
        return done, played

    return invoke


def test_answers_come_from_the_module_alone(run: Any) -> None:
    events = (OTHER, answered("n1", containers=[container()]), STATS)
    done, played = run("--limit", "n1", events=events)
    assert done.exit_code == 0
    assert done.stdout.startswith("n1: Docker 27.0.0 runs")
    assert played.playbook.path.name == "docker-survey.yml"
    assert played.playbook.limit == "n1"


def test_an_unreachable_node_is_named_beside_the_others(run: Any) -> None:
    done, _ = run(events=(answered("n1"), UNREACHABLE, STATS))
    assert done.stdout.startswith("n1: Docker")
    assert isinstance(done.exception, NodeError)
    assert "n2: unreachable: no route" in str(done.exception)


def test_json_is_data_and_nothing_else(run: Any) -> None:
    done, _ = run("--json", events=(answered("n1"), UNREACHABLE, STATS))
    assert done.exit_code == 1
    shown = json.loads(done.stdout)
    assert shown["ok"] is False
    assert shown["nodes"] == {"n1": answer()}
    assert shown["unreachable"] == {"n2": "no route"}
    done, _ = run("--json", events=(answered("n1"), STATS))
    assert done.exit_code == 0


def test_quadlets_of_each_node_are_a_document(run: Any) -> None:
    events = (answered("n2"), answered("n1", containers=[container()]), STATS)
    done, _ = run("--quadlets", events=events)
    assert done.stdout.count("---\n") == 2
    assert done.stdout.index("on n1") < done.stdout.index("on n2")


def test_one_form_at_a_time(run: Any) -> None:
    done, _ = run("--json", "--quadlets")
    assert isinstance(done.exception, InputError)
