"""Module landbridge_rootless_storage on folders and a table of mounts of its own."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

Mounts = Callable[..., None]
NAMES = ["alice", r"EXAMPLE\dora"]
# All of them are whoever runs the tests, who may give nothing away.
ME = str(os.getuid())


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    """Writes the table: (mount point, type) pairs."""

    def make(*points: tuple[str, str]) -> None:
        lines = [
            f"30 1 8:1 / {point} rw shared:1 - {kind} source rw\n"
            for point, kind in (("/", "xfs"), *points)
        ]
        (tmp_path / "mountinfo").write_text("".join(lines))

    make()
    return make


@pytest.fixture
def run(
    tmp_path: Path,
    mounts: Mounts,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Runner:
    module = load("podman", "landbridge_rootless_storage")
    monkeypatch.setattr(module, "MOUNTS", tmp_path / "mountinfo")
    for name in NAMES:
        (tmp_path / "home" / name).mkdir(parents=True)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and str(folder).startswith("/tmp/pytest"):
            folder.chmod(0o755)

    def account(name: str) -> Any:
        home = str(tmp_path / "home" / name)
        return SimpleNamespace(pw_name=name, pw_uid=os.getuid(), pw_gid=os.getgid(), pw_dir=home)

    monkeypatch.setattr(pwd, "getpwnam", account)
    return Runner(module, capsys)


def test_a_user_gets_a_directory_of_their_own(run: Runner, tmp_path: Path) -> None:
    path, name = tmp_path / "data/containers", r"EXAMPLE\dora"
    before = os.umask(0o077)
    try:
        answer = run(path=str(path), users=[name])
    finally:
        os.umask(before)
    assert answer["changed"]
    assert answer["directories"] == {name: f"{path}/{ME}"}
    modes = [folder.stat().st_mode & 0o777 for folder in (path.parent, path, path / ME)]
    assert modes == [0o755, 0o755, 0o700]
    assert run(path=str(path), users=[name])["changed"] is False


def test_check_mode_makes_nothing_and_shows_all(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "home/alice").rmdir()
    answer = run(path=str(tmp_path / "data"), users=NAMES, check=True)
    assert answer["changed"]
    own = f"{os.getuid()}:{os.getgid()} 0700\n"
    assert [(d["before"], d["after"]) for d in answer["diff"]] == [("absent\n", own)] * 2
    assert "of alice does not exist" in str(answer["warnings"])
    assert not (tmp_path / "data").exists()


def test_a_wrong_mode_is_mended(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "data" / ME).mkdir(parents=True)
    assert run(path=str(tmp_path / "data"), users=["alice"])["changed"]
    assert (tmp_path / "data" / ME).stat().st_mode & 0o777 == 0o700


def test_homes_are_left_as_they_are(run: Runner, tmp_path: Path) -> None:
    answer = run(users=NAMES)
    assert (answer["changed"], answer["directories"]) == (False, {})
    assert not list((tmp_path / "home/alice").iterdir())


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "lustre"])
def test_a_filesystem_across_a_network_is_refused(
    run: Runner, tmp_path: Path, mounts: Mounts, kind: str
) -> None:
    mounts((f"{tmp_path}/home", kind))
    said = run(users=["alice"])["msg"]
    assert f"alice's home {tmp_path}/home/alice is on {kind}" in said
    assert "podman_rootless_storage" in said
    assert run(path=str(tmp_path / "data"), users=["alice"])["changed"]
    assert kind in run(path=str(tmp_path / "home/all"), users=["alice"])["msg"]


def test_the_nearest_mount_counts_and_the_later_of_two(
    run: Runner, tmp_path: Path, mounts: Mounts
) -> None:
    home = f"{tmp_path}/home"
    mounts((home, "nfs4"), (f"{home}/alice", "xfs"))
    assert "msg" not in run(users=["alice"])
    mounts((home, "autofs"), (home, "nfs4"))
    assert "is on nfs4" in run(users=["alice"])["msg"]
    # One beside it whose name begins alike, and one with a space.
    (tmp_path / "my data").mkdir()
    mounts((f"{home}/ali", "nfs4"), (f"{tmp_path}/my\\040data", "nfs"))
    assert "msg" not in run(users=["alice"])
    assert "is on nfs" in run(path=f"{tmp_path}/my data/x", users=["alice"])["msg"]


def test_a_home_that_is_missing_is_named(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "home/alice").rmdir()
    said = run(users=["alice"])["msg"]
    assert f"home {tmp_path}/home/alice of alice does not exist" in said
    assert "with-mkhomedir" in said


def test_a_way_that_users_cannot_go_is_named(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    said = run(path=str(tmp_path / "data/containers"), users=["alice"])["msg"]
    assert f"cannot enter {tmp_path}/data" in said


@pytest.mark.parametrize("what", ["file", "link"])
def test_what_is_no_directory_is_named(run: Runner, tmp_path: Path, what: str) -> None:
    (tmp_path / "data").mkdir()
    if what == "file":
        (tmp_path / "data" / ME).touch()
    else:
        (tmp_path / "data" / ME).symlink_to("/etc")
    said = run(path=str(tmp_path / "data"), users=["alice"])["msg"]
    assert f"data/{ME} is no directory" in said


def test_a_directory_of_somebody_else_is_not_given_away(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ME).mkdir()
    run.module.look = lambda _path: (4711, 4711, 0o700)  # type: ignore[attr-defined]
    said = run(path=str(tmp_path / "data"), users=["alice"])["msg"]
    assert "is to be of alice and belongs to user id 4711" in said
