"""A file that is still coming: written piece by piece, kept after any fault, continued later."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from landbridge.files import CHUNK, write_file

# Cached files carry this time. A file with another one was written to since (bundles hold
# hard links to the cache), so its content is read again before it is trusted.
SEAL = 315532800  # 1980-01-01, the oldest that zip files can name


class Part:
    """The bytes that came so far, with their hash. One at a time holds it: see `hold`.

    Attributes:
        path: where it is written.
        size: bytes.
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self._file = file
        self._note = path.with_suffix(".version")
        self._digest = hashlib.sha256()
        self.size = 0
        while chunk := file.read(CHUNK):
            self._digest.update(chunk)
            self.size += len(chunk)

    @property
    def sha256(self) -> str:
        """Hex digest of what is there."""
        return self._digest.hexdigest()

    def is_of(self, version: str) -> bool:
        """Whether these bytes are known to belong to this version of the source's file."""
        try:
            return bool(version) and self._note.read_text() == _with_boot(version)
        except FileNotFoundError:
            return False

    def clear(self, version: str = "") -> None:
        """Start anew, with the bytes of `version` to follow if the hash is not known before."""
        self._file.truncate(0)
        self._file.seek(0)
        self._digest = hashlib.sha256()
        self.size = 0
        # Empty before the note changes, for a kill in between must not mix two versions.
        if version:
            write_file(self._note, _with_boot(version))
        else:
            self._note.unlink(missing_ok=True)

    def append(self, chunk: bytes) -> None:
        """Write straight to the kernel, so that a kill loses nothing of what came."""
        rest = memoryview(chunk)
        while rest:
            written = self._file.write(rest) or 0
            self._digest.update(rest[:written])
            self.size += written
            rest = rest[written:]

    def move(self, place: Path) -> None:
        """Seal the file and put it in its place.

        A sealed file is trusted unread, so its bytes must be on the disk before: one fsync for
        each file costs less than one sync of the whole machine for all.
        """
        os.fsync(self._file.fileno())
        seal(self.path)
        place.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(place)
        self._note.unlink(missing_ok=True)


def seal(path: Path) -> None:
    """Mark a whole file of the right content."""
    path.chmod(0o644)
    os.utime(path, (SEAL, SEAL))


@contextmanager
def hold(path: Path, wait: Callable[[], None]) -> Iterator[Part]:
    """Open a part, new or left over, for one holder on this machine; an empty one goes afterwards.

    Args:
        path: the part's file; it ends in `.part`.
        wait: is called while another holds it; returns after a moment or raises.
    """
    with _locked(path, wait) as file:
        part = Part(path, file)
        try:
            yield part
        finally:
            if part.size == 0 and _names(path, file):
                part.clear()
                path.unlink()


@contextmanager
def _locked(path: Path, wait: Callable[[], None]) -> Iterator[FileIO]:
    """The kernel lets the lock go when its holder dies, however it dies."""
    while True:
        with FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
                continue
            # Whoever held it may have moved the file to its place: the name counts.
            if _names(path, file):
                yield file
                return


def _names(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _with_boot(version: str) -> str:
    """After a power cut the file's end may be zeros, and no hash would tell: see who wrote it."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text().strip()} {version}"
