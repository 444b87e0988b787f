"""Module landbridge_user_unit against a systemctl that keeps its state in a folder."""

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.roles.modules import Runner, load

# Of one account of this machine: units of several users differ in nothing but the user.
SYSTEMCTL = """#!/bin/sh
test "$1" = --user || exit 1
test -d "$XDG_RUNTIME_DIR/systemd" || { echo "Failed to connect to bus" >&2; exit 1; }
state="$XDG_RUNTIME_DIR/state"
for unit; do :; done
case "$2" in
show) case "$3" in
      *NeedDaemonReload) test ! -e "$XDG_RUNTIME_DIR/old" || echo yes ;;
      *) cat "$state" 2>/dev/null || echo inactive ;;
      esac ;;
daemon-reload) rm "$XDG_RUNTIME_DIR/old" ;;
start) test "$unit" = podman.socket || { echo "Unit $unit not found." >&2; exit 5; }
       echo active > "$state" ;;
stop) rm "$state" ;;
esac
"""


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """alice's runtime directory."""
    folder = tmp_path / "run"
    (folder / "systemd").mkdir(parents=True)
    return folder


@pytest.fixture
def run(
    tmp_path: Path,
    session: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Runner:
    module = load("podman", "landbridge_user_unit")
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    account = SimpleNamespace(pw_uid=os.geteuid(), pw_gid=os.getegid(), pw_name="alice")
    users = {"alice": account}
    monkeypatch.setattr(pwd, "getpwnam", lambda name: users[name])
    monkeypatch.setattr(module, "runtime_directory", lambda _account: session)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    return Runner(module, capsys)


def test_starts_once_and_stops_once(run: Runner, session: Path) -> None:
    started = {"name": "podman.socket", "users": ["alice"], "state": "started"}
    first = run(**started)
    assert first["users"] == ["alice"]
    assert first["diff"]["before"] == "alice podman.socket stopped\n"
    assert first["diff"]["after"] == "alice podman.socket started\n"
    assert (session / "state").read_text() == "active\n"
    again = run(**started)
    assert not again["changed"]
    assert run(**{**started, "state": "stopped"})["changed"]
    assert not (session / "state").exists()
    assert not run(**{**started, "state": "stopped"})["changed"]


def test_a_changed_file_is_read_again(run: Runner, session: Path) -> None:
    (session / "old").touch()
    started = {"name": "podman.socket", "users": ["alice"], "state": "started"}
    assert run(check=True, **started)["changed"]
    assert (session / "old").exists()
    assert run(**started)["changed"]
    assert not (session / "old").exists()


def test_check_mode_changes_nothing(run: Runner, session: Path) -> None:
    answer = run(check=True, name="podman.socket", users=["alice"], state="started")
    assert answer["users"] == ["alice"]
    assert not (session / "state").exists()


def test_check_mode_needs_no_service_manager(run: Runner, session: Path) -> None:
    (session / "systemd").rmdir()
    assert run(check=True, name="podman.socket", users=["alice"], state="started")["changed"]
    assert not run(check=True, name="podman.socket", users=["alice"], state="stopped")["changed"]
    answer = run(name="podman.socket", users=["alice"], state="started")
    assert "Failed to connect to bus" in answer["msg"]


def test_no_user_is_no_change(run: Runner) -> None:
    assert not run(name="podman.socket", users=[], state="started")["changed"]


def test_a_unit_that_is_not_there(run: Runner) -> None:
    answer = run(name="other.socket", users=["alice"], state="started")
    assert "Unit other.socket not found." in answer["msg"]


def test_unknown_user(run: Runner) -> None:
    answer = run(name="podman.socket", users=["nobody-here"], state="started")
    assert answer["failed"]
    assert "nobody-here does not exist" in answer["msg"]
