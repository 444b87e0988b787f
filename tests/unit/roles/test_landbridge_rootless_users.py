"""Module landbridge_rootless_users with accounts of its own."""

import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

# What NSS calls a user, and the id, by the name that is asked for.
ACCOUNTS = {
    "alice": ("alice", 1001),
    "carol@example.org": ("carol@example.org", 700000),
    r"EXAMPLE\dora": (r"EXAMPLE\dora", 700001),
    "svc batch": ("svc batch", 1005),
    "Carol@EXAMPLE.ORG": ("carol@example.org", 700000),
    "root": ("root", 0),
    "toor": ("toor", 0),
    "a/b": ("a/b", 1002),
    "..": ("..", 1003),
}


def account(name: str) -> Any:
    known, uid = ACCOUNTS[name]
    return SimpleNamespace(pw_name=known, pw_uid=uid)


@pytest.fixture
def judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    module = load("podman", "landbridge_rootless_users")
    (tmp_path / "nr_open").write_text("1048576\n")
    monkeypatch.setattr(module, "MOST_FILES", tmp_path / "nr_open")
    monkeypatch.setattr(pwd, "getpwnam", account)
    return Runner(module, capsys)


def test_users_of_all_kinds_are_right(judge: Runner) -> None:
    limits = [
        {"memory": "8G", "cpus": 2.5, "tasks": 4096, "nofile": 1048576},
        {"memory": "25%", "cpus": 0.01},
        {"memory": "1073741824", "images": False},
        {},
    ]
    names = ["alice", "carol@example.org", r"EXAMPLE\dora", "svc batch"]
    users = [{"name": name, **each} for name, each in zip(names, limits, strict=True)]
    assert judge(users=users)["problems"] == []


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"name": "nobody-here"}, "create the user first"),
        ({"name": "Carol@EXAMPLE.ORG"}, "is called carol@example.org by this node"),
        ({"name": "toor"}, "is root"),
        ({"name": "a/b"}, "cannot be a directory's"),
        ({"name": ".."}, "cannot be a directory's"),
        ({"name": "alice", "memory": "8GB"}, "such as 8G"),
        ({"name": "alice", "memory": "0"}, "such as 8G"),
        ({"name": "alice", "memory": "101%"}, "such as 8G"),
        ({"name": "alice", "cpus": 0}, "above 0"),
        ({"name": "alice", "tasks": 0}, "above 0"),
        ({"name": "alice", "nofile": 0}, "from 1 to"),
        ({"name": "alice", "nofile": 1048577}, "fs.nr_open, here 1048576"),
    ],
)
def test_each_problem_is_named(judge: Runner, user: dict[str, Any], words: str) -> None:
    answer = judge(users=[user])
    assert len(answer["problems"]) == 1
    assert answer["problems"][0].startswith("podman_rootless_users: ")
    assert user["name"] in answer["msg"]
    assert words in answer["msg"]


def test_all_problems_are_told_at_once(judge: Runner) -> None:
    answer = judge(users=[{"name": "alice", "tasks": 0, "cpus": -1}, {"name": "alice"}])
    assert len(answer["problems"]) == 3
    assert "alice is there 2 times" in answer["problems"][-1]
