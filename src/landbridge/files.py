"""Files: written whole or not at all, hashed in streams, linked where one copy is enough."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gzip
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from landbridge.errors import LandbridgeError

CHUNK = 1 << 20
# renameat2(2), from linux/fcntl.h and linux/fs.h.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# What filesystems and kernels answer that cannot exchange two names.
_CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXT = os.strerror(errno.ENOSPC)


def write_file(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file so that no reader ever sees a part of it; makes the folders above it."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
            Path(file.name).rename(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def write_gzip(path: Path, content: str | bytes) -> None:
    """Write compressed; equal contents give equal bytes (no clock, no name inside)."""
    data = content.encode() if isinstance(content, str) else content
    write_file(path, gzip.compress(data, mtime=0))


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link(source: Path, destination: Path) -> None:
    """Hard-link `source` to `destination`; copy where a link cannot be (another filesystem)."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)


def need_space(folder: Path, wanted: int, what: str) -> None:
    """Refuse early what will not fit.

    Args:
        folder: where it is to be written; it or a folder above it exists.
        wanted: bytes.
        what: the thing, for the message.

    Raises:
        LandbridgeError: fewer bytes are free; both numbers are named.
    """
    free = free_space(folder)
    if wanted > free:
        raise LandbridgeError(
            f"{folder}: {what} needs {wanted} bytes, {free} bytes are free",
            "free some space or name another folder",
        )


def free_space(folder: Path) -> int:
    """Bytes that are free where `folder` is or would be."""
    return shutil.disk_usage(_existing(folder)).free


def same_filesystem(one: Path, two: Path) -> bool:
    """Whether two paths are or would be on one filesystem, so that links between them can be."""
    return _existing(one).stat().st_dev == _existing(two).stat().st_dev


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.absolute().parents) if p.exists())


@contextmanager
def full_disk_named(*folders: Path) -> Iterator[None]:
    """Make of a disk that fills up in the block an error that names the folder.

    Args:
        folders: where the block writes; of several the one with the least space is named.

    Raises:
        LandbridgeError: the disk is full, whether we or a tool that we ran met it.
    """
    try:
        yield
    except (OSError, LandbridgeError) as error:
        told = isinstance(error, LandbridgeError) and _FULL_TEXT in error.message
        if not told and getattr(error, "errno", None) not in _FULL:
            raise
        folder = min(folders, key=free_space)
        raise LandbridgeError(
            f"{folder}: the disk is full ({free_space(folder)} bytes are free): {error}",
            "free some space or name another folder, then run the command again: it goes on",
        ) from error


@contextmanager
def exclusive(place: Path, what: str) -> Iterator[None]:
    """Keep other processes from the same work until the block ends, however it ends.

    The kernel lets go of the lock file `.<name>.busy` beside `place` when its process dies.

    Args:
        place: what is worked on.
        what: who holds it then, for the message.

    Raises:
        LandbridgeError: another process is at it.
    """
    file = place.with_name(f".{place.name}.busy")
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _locked(file, what, place)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(file: Path, what: str, place: Path) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(file, descriptor):
                return descriptor
        except BlockingIOError as error:
            os.close(descriptor)
            raise LandbridgeError(
                f"{place}: {what} is at work on it", "wait until it ends, then run this again"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        # Whoever held the lock removed the file meanwhile: a new one counts.
        os.close(descriptor)


def _is(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def put_in_place(new: Path, place: Path) -> None:
    """Make the folder `new` the folder `place`, in one step if the filesystem can; the old goes.

    Killed at any moment it leaves either the old or the new at `place`, or, where two names
    cannot be exchanged in one step, the old beside it for `recover`.
    """
    old = _old(place)
    if not place.exists():
        new.rename(place)
    elif _exchange(new, place):
        shutil.rmtree(new, ignore_errors=True)
    else:
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
        new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def recover(place: Path) -> None:
    """Put back what a killed `put_in_place` had moved out of the way."""
    old = _old(place)
    if old.is_dir() and not place.exists():
        old.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _old(place: Path) -> Path:
    return place.with_name(f"{place.name}.old")


def _exchange(one: Path, two: Path) -> bool:
    """Swap two names at once; False where that cannot be done."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(two)
    if not libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
        return True
    fault = ctypes.get_errno()
    if fault in _CANNOT_EXCHANGE:
        return False
    raise OSError(fault, os.strerror(fault), str(one), None, str(two))


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder that is gone afterwards, whatever happens in it."""
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".landbridge-", dir=parent) as name:
        yield Path(name)
