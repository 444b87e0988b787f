"""Module landbridge_user_sessions, with stand-ins for systemctl and loginctl that keep state."""

import json
import os
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

UIDS = {"alice": 1001, "carol@example.org": 700000, r"EXAMPLE\dora": 700001}
ALICE = {"name": "alice", "memory": "8G", "cpus": 2.5, "tasks": 4096, "nofile": 65536}
DELEGATE = ["memory", "cpu"]

# State is files: active/<unit>, linger/<name>, stale; each call is a line of `calls`.
SYSTEMCTL = """#!/bin/sh
cd {here}
echo systemctl "$@" >> calls
case $1 in
  daemon-reload) rm -f stale;;
  start) shift; for unit; do
    [ ! -e broken ] || {{ echo "$unit failed" >&2; exit 1; }}
    touch "active/$unit"; done;;
  show) shift 2; for unit; do
    case $unit in *'*'*) unit=user@7.service;; esac
    state=inactive; [ ! -e "active/$unit" ] || state=active
    need=no; [ ! -e stale ] || need=yes
    printf 'Id=%s\\nActiveState=%s\\nNeedDaemonReload=%s\\n\\n' "$unit" $state $need
  done;;
esac
"""
LOGINCTL = """#!/bin/sh
cd {here}
echo loginctl "$@" >> calls
name=$(grep ":$2\\$" names | cut -d: -f1)
case $1 in
  enable-linger) touch "linger/$name";;
  disable-linger) rm "linger/$name";;
esac
"""


class Systemd:
    """The stand-ins' state."""

    def __init__(self, here: Path) -> None:
        self.here = here
        for name in ("active", "linger", "units", "limits.d", "bin"):
            (here / name).mkdir()
        # logind escapes a backslash in the name of a file.
        (here / "names").write_text(
            "alice:1001\ncarol@example.org:700000\nEXAMPLE\\\\dora:700001\n"
        )
        for name, text in (("systemctl", SYSTEMCTL), ("loginctl", LOGINCTL)):
            (here / "bin" / name).write_text(text.format(here=here))
            (here / "bin" / name).chmod(0o755)

    def calls(self) -> list[str]:
        """What was called that changes something."""
        file = self.here / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line for line in lines if not line.startswith("systemctl show")]

    def files(self) -> dict[str, str]:
        """Text of drop-ins and limits by path."""
        found = [p for name in ("units", "limits.d") for p in (self.here / name).rglob("*.conf")]
        return {str(p.relative_to(self.here)): p.read_text() for p in found}


def account(name: str) -> Any:
    return SimpleNamespace(pw_name=name, pw_uid=UIDS[name])


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Systemd(tmp_path)


@pytest.fixture
def run(
    systemd: Systemd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    module = load("podman", "landbridge_user_sessions")
    here = systemd.here
    monkeypatch.setattr(module, "UNITS", here / "units")
    delegate = here / "units/user@.service.d" / module.DELEGATE.name
    monkeypatch.setattr(module, "DELEGATE", delegate)
    monkeypatch.setattr(module, "LIMITS", here / "limits.d/50-landbridge-podman.conf")
    monkeypatch.setattr(module, "LINGER", here / "linger")
    monkeypatch.setattr(module, "RECORD", here / "state/lingers.json")
    monkeypatch.setattr(pwd, "getpwnam", account)
    return Runner(module, capsys)


def test_all_is_made_once(run: Runner, systemd: Systemd) -> None:
    users = [ALICE, {"name": r"EXAMPLE\dora"}]
    assert run(users=users, delegate=DELEGATE)["changed"]
    assert systemd.calls() == [
        "systemctl daemon-reload",
        "loginctl enable-linger 1001",
        "loginctl enable-linger 700001",
        "systemctl start user@1001.service user@700001.service",
    ]
    files = systemd.files()
    for path, words in {
        "units/user@.service.d/50-landbridge-delegate.conf": "Delegate=\nDelegate=cpu memory\n",
        "units/user@1001.service.d/50-landbridge-nofile.conf": "[Service]\nLimitNOFILE=65536\n",
        "units/user-1001.slice.d/50-landbridge-limits.conf": (
            "[Slice]\nMemoryMax=8G\nCPUQuota=250%\nTasksMax=4096\n"
        ),
        "limits.d/50-landbridge-podman.conf": ":1001 - nofile 65536\n",
    }.items():
        assert words in files.pop(path)
    assert files == {}
    assert run(users=users, delegate=DELEGATE)["changed"] is False
    assert systemd.calls() == []


def test_files_can_be_read_by_all_whatever_the_umask(run: Runner, systemd: Systemd) -> None:
    before = os.umask(0o077)
    try:
        run(users=[ALICE], delegate=DELEGATE)
    finally:
        os.umask(before)
    for path in (systemd.here / "units").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


def test_check_mode_changes_nothing_and_shows_all(run: Runner, systemd: Systemd) -> None:
    answer = run(users=[ALICE], delegate=DELEGATE, check=True)
    assert answer["changed"]
    assert len(answer["diff"]) == 5
    assert answer["diff"][-1]["after"] == "alice: linger yes, manager active\n"
    assert systemd.calls() == []
    assert systemd.files() == {}
    assert not (systemd.here / "state").exists()


def test_a_dropped_limit_goes_and_files_of_others_stay(run: Runner, systemd: Systemd) -> None:
    run(users=[ALICE, {"name": "carol@example.org", "tasks": 9}], delegate=DELEGATE)
    theirs = systemd.here / "units/user-1001.slice.d/90-site.conf"
    theirs.write_text("[Slice]\n")
    systemd.calls()
    assert run(users=[{"name": "alice"}])["changed"]
    assert list(systemd.files()) == ["units/user-1001.slice.d/90-site.conf"]
    folders = {p.name for p in (systemd.here / "units").iterdir()}
    assert folders == {"user-1001.slice.d"}
    assert systemd.calls() == ["systemctl daemon-reload"]


def test_a_reload_that_was_missed_is_made_up_for(run: Runner, systemd: Systemd) -> None:
    run(users=[ALICE])
    systemd.calls()
    (systemd.here / "stale").touch()
    assert run(users=[ALICE])["changed"]
    assert systemd.calls() == ["systemctl daemon-reload"]


def test_running_managers_are_left_alone_and_named(run: Runner, systemd: Systemd) -> None:
    run(users=[{"name": "alice"}, {"name": "carol@example.org"}])
    systemd.calls()
    answer = run(users=[{"name": "alice", "nofile": 5}, {"name": "carol@example.org", "tasks": 5}])
    assert systemd.calls() == ["systemctl daemon-reload"]
    assert "managers of alice run" in str(answer["warnings"])
    answer = run(users=[{"name": "alice", "nofile": 5}], delegate=DELEGATE)
    assert "managers of alice run" in str(answer["warnings"])


def test_a_manager_that_does_not_start_is_named(run: Runner, systemd: Systemd) -> None:
    (systemd.here / "broken").touch()
    assert "user@1001.service failed" in run(users=[{"name": "alice"}])["msg"]


def test_only_those_who_linger_through_us_are_let_go(run: Runner, systemd: Systemd) -> None:
    (systemd.here / "linger/alice").touch()
    run(users=[{"name": name} for name in UIDS])
    systemd.calls()
    rest = [{"name": "carol@example.org"}]
    assert run(users=rest, let_go=True, check=True)["let_go"] == [r"EXAMPLE\dora"]
    assert systemd.calls() == []
    answer = run(users=rest, let_go=True)
    assert answer["changed"]
    assert systemd.calls() == ["loginctl disable-linger 700001"]
    assert {p.name for p in (systemd.here / "linger").iterdir()} == {"alice", "carol@example.org"}
    record = json.loads((systemd.here / "state/lingers.json").read_text())
    assert record == {"carol@example.org": 700000}
    assert run(users=rest, let_go=True)["changed"] is False


def test_a_user_who_was_deleted_lingers_no_more(
    run: Runner, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(users=[{"name": r"EXAMPLE\dora"}])
    systemd.calls()
    monkeypatch.setattr(pwd, "getpwnam", {}.__getitem__)
    assert run(users=[], let_go=True)["let_go"] == [r"EXAMPLE\dora"]
    assert systemd.calls() == []
    assert not list((systemd.here / "linger").iterdir())
