"""`landbridge apply` over several nodes, with a run of Ansible that is played back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from landbridge.errors import InputError, NodeError, UnreachableError

FAILED = {
    "event": "runner_on_failed",
    "event_data": {"host": "n2", "task": "t", "task_path": "x", "res": {"msg": "broken"}},
}
UNREACHABLE = {
    "event": "runner_on_unreachable",
    "event_data": {"host": "n2", "res": {"msg": "no route"}},
}


def stats(**kinds: str) -> dict[str, Any]:
    """The sums of a run, in which each kind names its nodes."""
    counts = {kind: dict.fromkeys(names.split(), 1) for kind, names in kinds.items()}
    processed = {name: 1 for names in counts.values() for name in names}
    return {"event": "playbook_on_stats", "event_data": {"processed": processed, **counts}}


N2_IS_DARK = (UNREACHABLE, stats(ok="n1", dark="n2"))


def test_an_unreachable_node_has_an_exit_code_of_its_own(run_verb: Any) -> None:
    done, _ = run_verb("apply", events=N2_IS_DARK)
    assert isinstance(done.exception, UnreachableError)
    assert done.exception.exit_code == 4
    assert "--retry" in done.exception.mend
    done, _ = run_verb("apply", "--json", events=N2_IS_DARK)
    assert done.exit_code == 4
    assert json.loads(done.stdout)["unreachable"] == {"n2": "no route"}


def test_a_failure_weighs_more(run_verb: Any) -> None:
    n3 = {"event": "runner_on_unreachable", "event_data": {"host": "n3", "res": {"msg": "gone"}}}
    done, _ = run_verb("apply", events=(FAILED, n3, stats(failures="n2", dark="n3")))
    assert type(done.exception) is NodeError


def test_retry_takes_those_that_are_left_until_none_is(run_verb: Any) -> None:
    run_verb("apply", events=(FAILED, stats(ok="n1", failures="n2", dark="n3")))
    done, seen = run_verb("apply", "--retry", events=(stats(ok="n3", failures="n2"), FAILED))
    assert seen.playbook.limit == "n2,n3"
    assert done.exit_code != 0
    # A run over another node changes nothing about it, and neither does a check.
    run_verb("apply", "--limit", "n1", events=(stats(ok="n1"),))
    run_verb("apply", "--check", events=(stats(ok="n1 n2"),))
    run_verb("apply", "--tags", "podman", events=(stats(ok="n1 n2"),))
    done, seen = run_verb("apply", "--retry", events=(stats(ok="n2"),))
    assert seen.playbook.limit == "n2"
    assert done.exit_code == 0, done.output
    done, seen = run_verb("apply", "--retry")
    assert done.exit_code == 0
    assert "no node is left" in done.stdout
    assert seen.playbook is None


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--retry",), "has no record"), (("--retry", "--limit", "n1"), "exclude each other")],
)
def test_nothing_to_retry(run_verb: Any, words: tuple[str, ...], said: str) -> None:
    done, _ = run_verb("apply", *words)
    assert isinstance(done.exception, InputError)
    assert said in str(done.exception)
