"""Module landbridge_subids on files of its own."""

import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

UIDS = {"alice": 1001, "bob": 1002}


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    module = load("podman", "landbridge_subids")
    files = tuple(tmp_path / name for name in ("subuid", "subgid"))
    monkeypatch.setattr(module, "FILES", files)

    def account(name: str) -> Any:
        return SimpleNamespace(pw_uid=UIDS[name])

    monkeypatch.setattr(pwd, "getpwnam", account)
    return Runner(module, capsys)


def test_ranges_are_disjoint_and_stay(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("carol:524288:65536")
    first = run(users=["alice", "bob"])
    assert first["changed"]
    assert first["uids"] == UIDS
    wanted = "alice:589824:65536\nbob:655360:65536\n"
    assert (tmp_path / "subuid").read_text() == "carol:524288:65536\n" + wanted
    assert (tmp_path / "subgid").read_text() == wanted
    assert (tmp_path / "subgid").stat().st_mode & 0o777 == 0o644
    assert run(users=["alice", "bob"])["changed"] is False


def test_check_mode_writes_nothing_and_shows_all(run: Runner, tmp_path: Path) -> None:
    answer = run(users=["alice"], check=True)
    assert answer["changed"]
    assert [part["after"] for part in answer["diff"]] == ["alice:524288:65536\n"] * 2
    assert not list(tmp_path.iterdir())


def test_a_range_by_id_counts_and_only_the_missing_one_is_added(
    run: Runner, tmp_path: Path
) -> None:
    (tmp_path / "subuid").write_text("1001:100000:65536\n")
    run(users=["alice"])
    assert (tmp_path / "subuid").read_text() == "1001:100000:65536\n"
    assert (tmp_path / "subgid").read_text() == "alice:524288:65536\n"


def test_a_small_range_is_not_enough(run: Runner, tmp_path: Path) -> None:
    for name in ("subuid", "subgid"):
        (tmp_path / name).write_text("alice:100000:1000\n")
    assert run(users=["alice"])["changed"]


def test_unknown_user(run: Runner) -> None:
    answer = run(users=["nobody-here"])
    assert answer["failed"]
    assert "nobody-here does not exist" in answer["msg"]
