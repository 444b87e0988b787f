"""Folders exchanged in one step, work done by one process at a time, a full disk that is named."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from landbridge import files
from landbridge.errors import LandbridgeError, SourceError
from landbridge.files import exclusive, full_disk_named, put_in_place, recover, same_filesystem


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


@pytest.fixture(params=["exchange", "fallback"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "fallback":
        monkeypatch.setattr(files, "_exchange", lambda _one, _two: False)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_the_new_folder_takes_the_place_and_nothing_else_is_left(tmp_path: Path) -> None:
    place = tmp_path / "place"
    put_in_place(folder(tmp_path / "one", "1"), place)
    assert (place / "file").read_text() == "1"
    put_in_place(folder(tmp_path / "two", "2"), place)
    assert (place / "file").read_text() == "2"
    assert names(tmp_path) == ["place"]


def test_the_old_folder_is_there_until_the_new_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This filesystem exchanges names at once: there is no moment without `place`."""
    place = folder(tmp_path / "place", "1")
    seen: list[str] = []
    rename = Path.rename

    def watched(path: Path, target: Path) -> Path:
        seen.append(f"{path.name} to {target.name}")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", watched)
    put_in_place(folder(tmp_path / "new", "2"), place)
    assert (place / "file").read_text() == "2"
    assert seen == []


def test_what_a_kill_left_half_way_is_put_back(tmp_path: Path) -> None:
    place = tmp_path / "place"
    folder(tmp_path / "place.old", "1")
    recover(place)
    assert (place / "file").read_text() == "1"
    folder(tmp_path / "place.old", "0")
    recover(place)
    assert (place / "file").read_text() == "1"
    assert names(tmp_path) == ["place"]


@contextmanager
def holder(place: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `place` until it is killed."""
    code = (
        "import sys, pathlib, landbridge.files as f\n"
        "with f.exclusive(pathlib.Path(sys.argv[1]), 'it'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(place)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_two_processes_exclude_each_other_until_one_dies(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with holder(place) as process:
        with (
            pytest.raises(LandbridgeError, match=r"place: another build is at work"),
            exclusive(place, "another build"),
        ):
            pass
        process.kill()
        process.wait()
    with exclusive(place, "another build"):
        assert names(tmp_path) == [".place.busy"]
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SourceError("skopeo: write /x: No space left on device", "check the registry"),
    ],
)
def test_a_full_disk_names_folder_and_mend(tmp_path: Path, fault: Exception) -> None:
    with pytest.raises(LandbridgeError) as caught, full_disk_named(tmp_path / "not/yet"):
        raise fault
    assert f"{tmp_path}/not/yet: the disk is full" in caught.value.message
    assert "free some space" in caught.value.mend


def test_other_faults_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), full_disk_named(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(SourceError, match="HTTP 404"), full_disk_named(tmp_path):
        raise SourceError("HTTP 404")


def test_filesystems_are_told_apart_before_the_folders_are_there(tmp_path: Path) -> None:
    assert same_filesystem(tmp_path / "a/b", tmp_path / "c")
    assert not same_filesystem(tmp_path / "a", Path("/proc/nosuch"))
