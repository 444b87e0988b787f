import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from landbridge.errors import NodeError
from landbridge.facts.node import Node

SNAPSHOT: dict[str, Any] = {
    "depot": {
        "path": "/depot",
        "content": {"images": []},
        "stack": "name: minimal",
        "locks": {},
        "pure_wheels": [],
    },
    "os_release": {"ID": "rhel", "VERSION_ID": "9.4"},
    "toolkit": {"installed": "", "command": ""},
    "rpms": {},
    "systemd": {
        "state": "running",
        "units": {"a.service": {"load": "loaded", "active": "active", "sub": "running"}},
    },
    "repositories": {},
    "environments": {},
    "r_libraries": {},
    "kernelspecs": {},
    "images": [],
    "promises": {},
    "egress_packets": None,
}


class Host:
    """Answers every command with the same result, and remembers it."""

    def __init__(self, rc: int = 0, stdout: str = "", stderr: str = "") -> None:
        self.answer = SimpleNamespace(rc=rc, stdout=stdout, stderr=stderr)
        self.lines: list[str] = []

    def run(self, line: str) -> SimpleNamespace:
        self.lines.append(line)
        return self.answer


def test_the_snapshot_is_taken_once() -> None:
    host = Host(stdout=json.dumps(SNAPSHOT))
    node = Node("n1", host)
    assert node.content == {"images": []}
    assert node.stack == {"name": "minimal"}
    assert node.unit("a.service") == "active"
    assert node.unit("b.service") == "absent"
    assert len(host.lines) == 1


def test_a_failure_is_remembered_so_that_no_check_waits_for_it_again() -> None:
    host = Host(rc=255, stderr="connection timed out")
    node = Node("n1", host)
    for _ in range(2):
        with pytest.raises(NodeError, match="connection timed out"):
            _ = node.facts
    assert len(host.lines) == 1


def test_a_users_command_runs_in_a_session_of_that_user() -> None:
    host = Host()
    Node("n1", host).run("echo", "it's $HOME", user="ada")
    (line,) = host.lines
    assert line.startswith("runuser -l ada -s /bin/bash -c ")
    assert "XDG_RUNTIME_DIR=/run/user/$(id -u)" in line


def test_a_command_that_fails_says_what_it_said() -> None:
    with pytest.raises(NodeError, match="false x: exit code 1: no way"):
        Node("n1", Host(rc=1, stderr="no way")).output("false", "x")


def test_a_scripts_answer_is_a_value(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text("")
    host = Host(stdout='{"a": 1}')
    assert Node("n1", host).script(script, python=sys.executable) == {"a": 1}
