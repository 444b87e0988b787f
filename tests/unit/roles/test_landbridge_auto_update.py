"""Module landbridge_auto_update, with a systemd and a Podman that only remember."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load, shared

IMAGE = "localhost/tools/web:1"


class Node:
    """Timers by user, and one container of root's."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.active: set[str] = set()
        self.enabled = False
        self.running = "id-1"
        self.stored = "id-1"
        self.outcome = "true"
        self.calls: list[str] = []

    def run(self, argv: list[str], account: Any, **_options: Any) -> str:
        words = [word for word in argv if word not in ("--user", "--")]
        if words[0] == "systemctl":
            return self.systemctl(account.pw_name, words[1:])
        if words[0] == "journalctl":
            return "it is not healthy\n"
        if words[1:3] == ["image", "ls"]:
            return json.dumps([{"Id": self.stored, "Names": [IMAGE]}])
        if words[1] == "ps":
            labels = {"PODMAN_SYSTEMD_UNIT": "web.service", "io.containers.autoupdate": "local"}
            return json.dumps([{"Image": IMAGE, "ImageID": self.running, "Labels": labels}])
        self.calls.append(" ".join(words))
        self.running = self.stored = self.stored if self.outcome == "true" else self.running
        return json.dumps([{"Unit": "web.service", "Image": IMAGE, "Updated": self.outcome}])

    def systemctl(self, user: str, words: list[str]) -> str:
        if words[0] == "show":
            active = "active" if user in self.active else "inactive"
            enabled = "enabled" if self.enabled else "disabled"
            return f"Id={words[-1]}\nActiveState={active}\nUnitFileState={enabled}\n"
        self.calls.append(f"{user}: {' '.join(words)}")
        if words[:2] == ["--global", "enable"]:
            self.link.symlink_to("/x")
        elif words[:2] == ["--global", "disable"]:
            self.link.unlink()
        elif words[0] in ("enable", "disable"):
            self.enabled = words[0] == "enable"
        if words[0] == "restart":
            self.active.add(user)
        if words[0] == "stop" or "--now" in words:
            self.active.discard(user)
        return ""


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "link")


@pytest.fixture
def run(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    module = load("podman", "landbridge_auto_update")
    services = shared("landbridge_services")
    for each in (module, services):
        monkeypatch.setattr(each, "run", node.run)
        monkeypatch.setattr(each, "can_ask", lambda _account: True)
        monkeypatch.setattr(each, "account_of", account)
    for name in ("ROOT", "USERS", "ROOT_SERVICE", "USERS_SERVICE"):
        monkeypatch.setattr(module, name, tmp_path / f"{name}.d" / "x.conf")
    monkeypatch.setattr(module, "ENABLED_FOR_USERS", tmp_path / "link")
    monkeypatch.setattr(module.shutil, "which", lambda _name: "/usr/bin/podman")
    return Runner(module, capsys)


def account(name: str) -> Any:
    uid = {"root": 0, "alice": 1001, "bob": 1002}[name]
    return SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=os.getgid(), pw_dir="/")


def test_timers_come_and_go(run: Runner, node: Node, tmp_path: Path) -> None:
    both = {"users": ["alice", "root"], "calendar": "daily"}
    assert run(**both, check=True)["changed"]
    assert not list(tmp_path.iterdir())
    assert node.calls == []
    assert run(**both)["changed"]
    assert "OnCalendar=\nOnCalendar=daily\n" in (tmp_path / "ROOT.d/x.conf").read_text()
    assert "ConditionUser=|alice\n" in (tmp_path / "USERS.d/x.conf").read_text()
    assert "rolled back" in (tmp_path / "USERS_SERVICE.d/x.conf").read_text()
    assert node.active == {"root", "alice"}
    assert node.enabled
    assert (tmp_path / "link").is_symlink()
    assert run(**both)["changed"] is False
    assert run(users=["bob"], calendar="daily")["changed"]
    assert node.active == {"bob"}
    assert not node.enabled
    assert run(users=["bob"], calendar="")["changed"]
    assert node.active == set()
    assert not (tmp_path / "link").is_symlink()
    assert run(users=["bob"], calendar="")["changed"] is False


def test_a_stopped_timer_is_started(run: Runner, node: Node) -> None:
    run(users=["root"], calendar="daily")
    node.active.clear()
    assert run(users=["root"], calendar="daily")["changed"]
    assert node.active == {"root"}


def test_others_timers_are_left_alone(run: Runner, node: Node) -> None:
    node.active, node.enabled = {"root"}, True
    assert run(users=[])["changed"] is False
    assert node.active == {"root"}


def test_a_brought_image_is_taken_up_at_once(run: Runner, node: Node) -> None:
    node.stored = "id-2"
    assert run(users=["root"], check=True)["updated"] == ["web.service of root"]
    assert node.running == "id-1"
    assert run(users=["root"])["updated"] == ["web.service of root"]
    assert node.running == "id-2"
    assert run(users=["root"])["changed"] is False


def test_a_step_back_is_a_failure_with_the_log(run: Runner, node: Node) -> None:
    node.stored, node.outcome = "id-2", "rolled back"
    answer = run(users=["root"])
    assert answer["failed"]
    assert f"web.service of root: {IMAGE}: update rolled back" in answer["msg"]
    assert "it is not healthy" in answer["msg"]
    assert run(users=["root"])["changed"] is False


def test_a_fresh_node_is_predicted(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.module, "can_ask", lambda _account: False)
    monkeypatch.setattr(run.module.shutil, "which", lambda _name: None)
    assert run(users=["root"], calendar="daily", check=True)["changed"]
    assert run(users=["root"])["msg"] == "Podman is not installed"
