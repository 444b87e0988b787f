"""`landbridge docker survey`, with a run of Ansible that is played back."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from landbridge.errors import InputError, NodeError
from tests.unit.cli import played
from tests.unit.cli.played import OTHER, STATS, UNREACHABLE
from tests.unit.docker.answers import answer, container


def answered(host: str, **changes: Any) -> dict[str, Any]:
    return played.answered(host, "landbridge_docker_survey", {"survey": answer(**changes)})


@pytest.fixture
def run(run_verb: Any) -> Any:
    """Runs the command over these events."""
    return partial(run_verb, "docker", "survey")


def test_answers_come_from_the_module_alone(run: Any) -> None:
    events = (OTHER, answered("n1", containers=[container()]), STATS)
    done, seen = run("--limit", "n1", events=events)
    assert done.exit_code == 0
    assert done.stdout.startswith("n1: Docker 27.0.0 runs")
    assert seen.playbook.path.name == "docker-survey.yml"
    assert seen.playbook.limit == "n1"


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
