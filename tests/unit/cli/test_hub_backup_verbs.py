"""`landbridge backup` and `landbridge restore`, with a run of Ansible that is played back."""

from __future__ import annotations

import json
from typing import Any

from landbridge.errors import InputError, NodeError
from tests.unit.cli import played
from tests.unit.cli.played import STATS, UNREACHABLE

MADE = "/var/lib/landbridge/jupyterhub-backups/2026-11-30T012000.000000Z-asked"


def answered(host: str, backup: str | None = MADE, *before: str) -> dict[str, Any]:
    answer = {"changed": True, "backup": backup, "before": list(before)}
    return played.answered(host, "landbridge_hub_backup", answer)


def test_a_backup_is_named(run_verb: Any) -> None:
    done, seen = run_verb("backup", "--files", events=(answered("n1"), STATS))
    assert (done.exit_code, done.stdout) == (0, f"n1: {MADE}\n")
    assert seen.playbook.path.name == "backup.yml"
    assert seen.variables == {"jupyterhub_backup_state": "made", "jupyterhub_backup_files": True}


def test_what_was_there_before_is_named(run_verb: Any) -> None:
    kept = "/srv/teams/pricing.before-2026-11-30T012100Z"
    done, seen = run_verb("restore", MADE, events=(answered("n1", MADE, kept), STATS))
    assert done.stdout == (f"n1: restored {MADE}\nn1: of before, to be removed by hand: {kept}\n")
    assert seen.variables == {
        "jupyterhub_backup_state": "restored",
        "jupyterhub_backup_restored": MADE,
    }


def test_json_is_data_and_nothing_else(run_verb: Any) -> None:
    done, _ = run_verb("backup", "--json", events=(answered("n1"), UNREACHABLE, STATS))
    assert done.exit_code == 1
    shown = json.loads(done.stdout)
    assert shown["nodes"] == {"n1": {"backup": MADE, "before": []}}
    assert shown["unreachable"] == {"n2": "no route"}


def test_no_hub_at_all_is_an_error(run_verb: Any) -> None:
    done, _ = run_verb("backup", events=(answered("n2", None), STATS))
    assert isinstance(done.exception, NodeError)
    assert "no hub on n2" in str(done.exception)


def test_a_backup_is_named_from_the_root(run_verb: Any) -> None:
    done, _ = run_verb("restore", "backups/latest")
    assert isinstance(done.exception, InputError)
