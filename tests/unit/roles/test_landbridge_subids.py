"""Module landbridge_subids on files of its own."""

import grp
import os
import pwd
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

UIDS = {"alice": 1001, "bob": 1002, "carol@example.org": 700000, r"EXAMPLE\dora": 700001}
Ids = Callable[..., None]


def account(name: str) -> Any:
    return SimpleNamespace(pw_name=name, pw_uid=UIDS[name])


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    module = load("podman", "landbridge_subids")
    files = tuple(tmp_path / name for name in ("subuid", "subgid"))
    monkeypatch.setattr(module, "FILES", files)
    monkeypatch.setattr(module, "NSSWITCH", tmp_path / "nsswitch.conf")
    monkeypatch.setattr(module, "PATIENCE", 0)
    monkeypatch.setattr(pwd, "getpwnam", account)
    monkeypatch.setattr(pwd, "getpwall", list)
    monkeypatch.setattr(grp, "getgrall", list)
    return Runner(module, capsys)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ids:
    """Makes nsswitch.conf name a directory, and a getsubids that answers as shadow's does."""

    def make(**answers: str) -> None:
        (tmp_path / "nsswitch.conf").write_text("passwd: files sss\nsubid:  sss  # no files\n")
        folder = tmp_path / "bin"
        folder.mkdir()
        cases = "".join(f"'{who}') echo '{said}';;\n" for who, said in answers.items())
        script = f'#!/bin/sh\ncase "$*" in\n{cases}*) echo no such; exit 1;;\nesac\n'
        (folder / "getsubids").write_text(script)
        (folder / "getsubids").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return make


def fill(folder: Path, text: str) -> None:
    for name in ("subuid", "subgid"):
        (folder / name).write_text(text)


def test_ranges_are_disjoint_and_stay(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("carol:524288:65536")
    first = run(users=["alice", "bob"])
    assert first["changed"]
    assert first["uids"] == {"alice": 1001, "bob": 1002}
    assert first["source"] == "files"
    wanted = "alice:589824:65536\nbob:655360:65536\n"
    assert (tmp_path / "subuid").read_text() == "carol:524288:65536\n" + wanted
    assert (tmp_path / "subgid").read_text() == wanted
    assert (tmp_path / "subgid").stat().st_mode & 0o777 == 0o644
    assert run(users=["alice", "bob"])["changed"] is False
    assert sorted(p.name for p in tmp_path.iterdir()) == ["subgid", "subuid"]


def test_check_mode_writes_nothing_and_shows_all(run: Runner, tmp_path: Path) -> None:
    answer = run(users=["alice"], check=True)
    assert answer["changed"]
    assert [part["after"] for part in answer["diff"]] == ["alice:524288:65536\n"] * 2
    assert not list(tmp_path.iterdir())


def test_a_range_by_id_counts_and_only_the_missing_one_is_added(
    run: Runner, tmp_path: Path
) -> None:
    (tmp_path / "subuid").write_text("1001:100000:65536")
    run(users=["alice"])
    assert (tmp_path / "subuid").read_text() == "1001:100000:65536"
    assert (tmp_path / "subgid").read_text() == "alice:524288:65536\n"


def test_a_small_range_is_not_enough(run: Runner, tmp_path: Path) -> None:
    fill(tmp_path, "alice:100000:1000\n")
    assert run(users=["alice"])["changed"]


def test_unknown_user(run: Runner) -> None:
    answer = run(users=["nobody-here"])
    assert answer["failed"]
    assert "nobody-here does not exist" in answer["msg"]


def test_names_of_directories_have_their_ranges(run: Runner, tmp_path: Path) -> None:
    names = ["carol@example.org", r"EXAMPLE\dora"]
    run(users=names)
    lines = (tmp_path / "subuid").read_text().splitlines()
    assert lines == ["carol@example.org:524288:65536", r"EXAMPLE\dora:589824:65536"]
    assert run(users=names)["changed"] is False


def test_a_gap_is_used_before_what_lies_above(run: Runner, tmp_path: Path) -> None:
    fill(tmp_path, "containers:2147483647:2147483648\nbob:524288:65536\n")
    run(users=["alice"])
    assert "alice:589824:65536\n" in (tmp_path / "subuid").read_text()


def test_ids_of_accounts_are_no_subordinate_ids(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pwd, "getpwall", lambda: [SimpleNamespace(pw_uid=524300)])
    monkeypatch.setattr(grp, "getgrall", lambda: [SimpleNamespace(gr_gid=560000)])
    # The user's own id counts, which NSS need not enumerate.
    run(users=["carol@example.org"], first=524288)
    assert (tmp_path / "subuid").read_text() == "carol@example.org:560001:65536\n"
    run(users=["alice", "carol@example.org"], first=670000)
    assert "alice:700001:65536\n" in (tmp_path / "subuid").read_text()


def test_the_last_id_is_never_given(run: Runner, tmp_path: Path) -> None:
    answer = run(users=["alice"], first=2**32 - 65536)
    assert answer["failed"]
    assert "podman_subid_first" in answer["msg"]
    assert not list(tmp_path.iterdir())
    assert run(users=["alice"], first=2**32 - 1 - 65536)["changed"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("alice:abc:65536", "line 2: 'alice:abc:65536' is not OWNER:FIRST:COUNT"),
        ("bob:524288", "is not OWNER:FIRST:COUNT"),
        (":524288:65536", "is not OWNER:FIRST:COUNT"),
        ("bob:4294901760:65536", "beyond the last id"),
    ],
)
def test_a_malformed_line_is_named(run: Runner, tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "subuid").write_text(f"# ranges\n{line}\n")
    assert words in run(users=["alice"])["msg"]


@pytest.mark.parametrize(
    "lines",
    [
        "bob:524288:65536\nalice:550000:65536\n",
        "alice:524288:65536\nalice:524288:65536\n",
        "alice:524288:65536\n1001:524288:65536\n",
        "bob:500000:1000000\neve:600000:10\nalice:1000000:65536\n",
    ],
)
def test_an_overlap_with_a_user_of_ours_is_named(run: Runner, tmp_path: Path, lines: str) -> None:
    fill(tmp_path, lines)
    answer = run(users=["alice"])
    assert answer["failed"]
    assert "line" in answer["msg"]
    assert (tmp_path / "subuid").read_text() == lines


def test_an_overlap_of_others_is_theirs(run: Runner, tmp_path: Path) -> None:
    fill(tmp_path, "bob:524288:65536\neve:524288:65536\n")
    assert run(users=["alice"])["changed"]


def test_a_held_lock_is_waited_for_and_named(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "subgid.lock").write_text(f"{os.getpid()}\0")
    answer = run(users=["alice"])
    assert f"subgid.lock is held by process {os.getpid()}" in answer["msg"]
    assert [p.name for p in tmp_path.iterdir()] == ["subgid.lock"]


def test_a_lock_of_a_process_that_ended_is_none(run: Runner, tmp_path: Path) -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    (tmp_path / "subuid.lock").write_text(str(done.pid))
    run.module.PATIENCE = 1  # type: ignore[attr-defined]
    assert run(users=["alice"])["changed"]
    assert not (tmp_path / "subuid.lock").exists()


def test_ranges_of_a_directory_are_enough(run: Runner, tmp_path: Path, source: Ids) -> None:
    both = "0: carol@example.org 2147483648 65536"
    source(**{"carol@example.org": both, "-g carol@example.org": both})
    fill(tmp_path, "nonsense, which nobody reads\n")
    answer = run(users=["carol@example.org"])
    assert answer["changed"] is False
    assert answer["source"] == "sss"


def test_users_without_ranges_of_the_directory_are_named(
    run: Runner, tmp_path: Path, source: Ids
) -> None:
    both = "0: bob 2147483648 65536"
    source(bob=both, **{"-g bob": both, "alice": "0: alice 2147500000 65536"})
    answer = run(users=["alice", "bob", "carol@example.org"])
    assert "to: alice, carol@example.org." in answer["msg"]
    assert "ipa subid-generate" in answer["msg"]
    assert "with-subid" in answer["msg"]
    assert not (tmp_path / "subuid").exists()


def test_a_directory_that_nobody_can_ask_yet(
    run: Runner, source: Ids, monkeypatch: pytest.MonkeyPatch
) -> None:
    source()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "shadow-utils-subid" in str(run(users=["alice"], check=True)["warnings"])
    assert "install shadow-utils-subid" in run(users=["alice"])["msg"]
