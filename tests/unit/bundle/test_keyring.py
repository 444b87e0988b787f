"""Secret keys in memory do not outlive the process that needed them by much."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from landbridge.bundle import _keyring
from landbridge.bundle._keyring import keyring

HOLD = """
import sys
from pathlib import Path
from landbridge.bundle import _keyring
_keyring._MEMORY = Path(sys.argv[1])
with _keyring.keyring() as home:
    (home / "secret").write_text("key")
    print(home, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_keyring, "_MEMORY", tmp_path)
    return tmp_path


def holder(memory: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a keyring open; it ends when its standard input does."""
    command = [sys.executable, "-c", HOLD, str(memory)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def grow_old(home: Path) -> None:
    os.utime(home, (0, 0))


def test_nothing_is_left_whatever_happens(memory: Path) -> None:
    with pytest.raises(ZeroDivisionError), keyring() as home:
        assert home.stat().st_mode & 0o777 == 0o700
        (home / "secret").write_text("key")
        raise ZeroDivisionError
    assert list(memory.iterdir()) == []


def test_a_killed_processes_keyring_is_removed_by_the_next(memory: Path) -> None:
    process, home = holder(memory)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (home / "secret").exists()
    grow_old(home)
    with keyring():
        assert not home.exists()


def test_one_in_use_or_just_made_stays(memory: Path) -> None:
    process, home = holder(memory)
    grow_old(home)
    young = memory / ".landbridge-keys-young"
    young.mkdir()
    with keyring():
        assert (home / "secret").exists()
        assert young.exists()
    process.communicate()
    assert not home.exists()
