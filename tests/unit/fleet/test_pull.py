"""What a pull does, remembers and reports, without a node."""

import json
from pathlib import Path
from typing import Any

import pytest

from landbridge.errors import InputError, NodeError, SourceError
from landbridge.fleet import pull, reports
from landbridge.fleet.backoff import LONGEST, Backoff
from landbridge.fleet.reports import Report
from landbridge.fleet.settings import Reporting, Settings, read

REPORTING = {"url": "", "ca": "", "certificate": "", "key": "", "user": "", "password": ""}
SETTINGS: dict[str, Any] = {
    "name": "n1",
    "depot": "/var/lib/landbridge/depot",
    "source": "",
    "tags": ["podman", "pull"],
    "backoff_minutes": 60,
    "report": REPORTING,
}


def test_settings_are_read_and_faults_named(tmp_path: Path) -> None:
    file = tmp_path / "pull.json"
    with pytest.raises(InputError, match=r"pull\.json: cannot be read"):
        read(file)
    file.write_text(json.dumps(SETTINGS))
    assert read(file).name == "n1"
    file.write_text(json.dumps({**SETTINGS, "color": "red"}))
    with pytest.raises(InputError, match="color"):
        read(file)


def test_the_toolkit_is_brought_first_then_all_that_is_asked_for() -> None:
    commands: list[str] = []
    pull.converge(Settings.model_validate(SETTINGS), lambda words: commands.append(" ".join(words)))
    assert [command.partition("--tags ")[2] for command in commands] == [
        "preflight,toolkit",
        "podman,pull",
    ]
    assert all("landbridge_pulling=true" in command for command in commands)


def test_what_a_failed_command_said_is_the_error() -> None:
    with pytest.raises(NodeError, match=r"^no space") as caught:
        pull.run_here(["sh", "-c", "echo step >&2; echo 'error: no space' >&2; exit 1"])
    assert "step" not in caught.value.message
    pull.run_here(["true"])


def test_each_failure_makes_the_node_wait_longer(tmp_path: Path) -> None:
    backoff = Backoff(60, tmp_path / "failures.json")
    assert backoff.until() == 0
    waits = []
    for _ in range(7):
        backoff.failed(1000)
        waits.append(backoff.until() - 1000)
    assert waits == [3600, 7200, 14400, 28800, 57600, LONGEST, LONGEST]
    backoff.succeeded()
    assert backoff.until() == 0


def test_what_is_not_readable_keeps_no_node_back(tmp_path: Path) -> None:
    (tmp_path / "failures.json").write_text("{}")
    assert Backoff(60, tmp_path / "failures.json").until() == 0


def test_reports_are_listed_by_the_names_that_the_depot_knows(tmp_path: Path) -> None:
    report = Report(name="liar", time=0, release="r-1", error="no space\nmend: x", snapshot=None)
    (tmp_path / "n1.json").write_text(report.model_dump_json())
    (tmp_path / "n2.json").write_text("{")
    good, bad = reports.listed(tmp_path, now=7200)
    assert (good.name, good.release, good.hours, good.state) == ("n1", "r-1", 2.0, "no space")
    assert (bad.name, bad.state) == ("n2", "unreadable")


def test_a_depot_that_is_not_there() -> None:
    report = Report(name="n1", time=0, release="r-1", error="", snapshot=None)
    where = {**REPORTING, "url": "https://127.0.0.1:1/reports"}
    with pytest.raises(SourceError, match=r"n1\.json: the report is not taken"):
        reports.send(report, Reporting.model_validate(where))
