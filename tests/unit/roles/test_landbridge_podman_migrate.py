"""Module landbridge_podman_migrate with processes of its own in a /proc of its own."""

import os
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

GETSUBIDS = """#!/bin/sh
case "$*" in alice|"-g alice") echo "0: alice 524288 65536";; *) exit 1;; esac
"""
PODMAN = '#!/bin/sh\necho "$HOME" "$@" >> "{here}/calls"\n'
OWN = "         0       1001          1\n"
RANGE = "         1     524288      65536\n"


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    module = load("podman", "landbridge_podman_migrate")
    monkeypatch.setattr(module, "PROC", tmp_path / "proc")
    monkeypatch.setattr(module, "runtime_directory", lambda _account: tmp_path / "run")
    (tmp_path / "bin").mkdir()
    for name, text in (("getsubids", GETSUBIDS), ("podman", PODMAN.format(here=tmp_path))):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", "/home/alice")

    def account(name: str) -> Any:
        return SimpleNamespace(
            pw_name=name, pw_uid=os.getuid(), pw_gid=os.getgid(), pw_dir="/home/alice"
        )

    monkeypatch.setattr(pwd, "getpwnam", account)
    return Runner(module, capsys)


def pause(folder: Path, uids: str, gids: str, uid: int | None = None) -> None:
    """A process that holds a user namespace."""
    process = folder / "proc/4711"
    process.mkdir(parents=True)
    real = os.getuid() if uid is None else uid
    (process / "status").write_text(f"Name:\tcatatonit\nUid:\t{real}\t{real}\t{real}\t{real}\n")
    (process / "uid_map").write_text(uids)
    (process / "gid_map").write_text(gids)
    file = folder / "run/libpod/tmp/pause.pid"
    file.parent.mkdir(parents=True)
    file.write_text("4711")


def calls(folder: Path) -> list[str]:
    file = folder / "calls"
    return file.read_text().splitlines() if file.exists() else []


def test_nothing_runs_nothing_is_done(run: Runner, tmp_path: Path) -> None:
    assert run(users=["alice"])["migrated"] == []
    pause(tmp_path, OWN, OWN)
    (tmp_path / "run/libpod/tmp/pause.pid").write_text("4712\n")  # it has ended
    assert run(users=["alice"])["migrated"] == []


def test_all_ranges_are_there(run: Runner, tmp_path: Path) -> None:
    pause(tmp_path, OWN + RANGE, OWN + RANGE)
    assert run(users=["alice"])["changed"] is False
    assert calls(tmp_path) == []


@pytest.mark.parametrize("lines", [(OWN, OWN), (OWN + RANGE, OWN), (OWN, OWN + RANGE)])
def test_a_missing_range_is_taken_up(run: Runner, tmp_path: Path, lines: tuple[str, str]) -> None:
    pause(tmp_path, *lines)
    assert run(users=["alice"], check=True)["migrated"] == ["alice"]
    assert calls(tmp_path) == []
    assert run(users=["alice"])["changed"]
    assert calls(tmp_path) == ["/home/alice system migrate"]


def test_a_user_without_ranges_and_a_process_of_another(run: Runner, tmp_path: Path) -> None:
    pause(tmp_path, OWN, OWN)
    assert run(users=["bob"])["migrated"] == []
    status = tmp_path / "proc/4711/status"
    status.write_text(status.read_text().replace(f"\t{os.getuid()}\t", f"\t{os.getuid() + 1}\t"))
    assert run(users=["alice"])["migrated"] == []


def test_a_migration_that_fails_is_told(run: Runner, tmp_path: Path) -> None:
    pause(tmp_path, OWN, OWN)
    (tmp_path / "bin/podman").write_text("#!/bin/sh\necho no space >&2; exit 1\n")
    assert "no space" in run(users=["alice"])["msg"]
