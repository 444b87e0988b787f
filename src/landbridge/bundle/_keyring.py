"""A keyring for a secret key from a file: in memory, and gone afterwards, come what may."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landbridge.process import run

PACKAGE = "gnupg2"
# A socket's path is at most 107 bytes long, and a key in memory leaves no trace on a disk.
_MEMORY = Path("/dev/shm")  # noqa: S108
_PREFIX = ".landbridge-keys-"
# Between making and locking a folder lies less than this, in seconds.
_YOUNG = 60


@contextmanager
def keyring() -> Iterator[Path]:
    """GnuPG's home for one block; it and its agent end with the block.

    A process that is killed leaves its own behind: the next one that signs removes it.

    Raises:
        LandbridgeError: GnuPG is missing.
    """
    parent = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
    _remove_abandoned(parent)
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    lock = os.open(home, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield home
    finally:
        _remove(home)
        os.close(lock)


def _remove_abandoned(parent: Path) -> None:
    """Remove the caller's keyrings that no process holds."""
    for home in parent.glob(f"{_PREFIX}*"):
        state = home.lstat()
        if state.st_uid != os.getuid() or time.time() - state.st_mtime < _YOUNG:
            continue
        lock = os.open(home, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(home)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def _remove(home: Path) -> None:
    stop = ["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"]
    run(stop, package=PACKAGE, check=False)
    shutil.rmtree(home, ignore_errors=True)
