"""Plain tar files: written with the same bytes each time, read as from a stranger.

Format: GNU tar (GNU tar manual, "Basic Tar Format"), of which only regular files are read.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from landbridge.bundle.part import SEAL
from landbridge.errors import BundleError
from landbridge.files import CHUNK

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
# Longer than any path that Linux opens (PATH_MAX).
_LONGEST_NAME = 4096

Read = Callable[[int], bytes]


def header(name: str, size: int, mode: int = 0o644) -> bytes:
    """What comes before the bytes of a file; no clock and no user takes part.

    Args:
        name: path in the tar.
        size: bytes of the file.
        mode: permissions.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, SEAL
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """The zeros that fill a file's last block."""
    return bytes(-size % BLOCK)


@dataclass
class Member:
    """A file in a tar that is being read.

    Attributes:
        name: its path as the tar gives it; it may be anything.
        size: bytes.
    """

    name: str
    size: int
    _read: Read
    _left: int

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces.

        Raises:
            BundleError: the tar ends before the file does.
        """
        while self._left:
            yield self._next()

    def content(self, limit: int) -> bytes:
        """The whole file, for what is kept in memory.

        Raises:
            BundleError: it is longer than `limit` bytes, or the tar ends before it does.
        """
        if self.size > limit:
            raise damaged(f"{self.name!r} has {self.size} bytes, at most {limit} are expected")
        return b"".join(self.chunks())

    def _next(self) -> bytes:
        chunk = self._read(min(CHUNK, self._left))
        if not chunk:
            raise damaged(f"ends within {self.name!r}")
        self._left -= len(chunk)
        return chunk


def members(read: Read) -> Iterator[Member]:
    """The files of a tar in their order, each to be read before the next one is asked for.

    Args:
        read: gives at most so many bytes, none at the end.

    Raises:
        BundleError: not a tar, cut off, or with something else than regular files.
    """
    long_name = ""
    while (info := _next_header(read)) is not None:
        if info.size < 0 or info.type not in (*tarfile.REGULAR_TYPES, tarfile.GNUTYPE_LONGNAME):
            raise damaged(f"{info.name!r} is no regular file")
        member = Member(long_name or info.name, info.size, read, info.size)
        if info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = _text(member.content(_LONGEST_NAME))
        else:
            long_name = ""
            yield member
            for _ in member.chunks():
                pass
        _exactly(read, len(padding(info.size)))


def damaged(what: str) -> BundleError:
    """The error for a tar that cannot be read on."""
    return BundleError(f"damaged: {what}", "carry it over again")


def _next_header(read: Read) -> tarfile.TarInfo | None:
    block = _exactly(read, BLOCK)
    if not any(block):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise damaged(f"not a tar's header: {error}") from error


def _exactly(read: Read, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = read(size - len(data))
        if not chunk:
            raise damaged("ends too early")
        data += chunk
    return data


def _text(name: bytes) -> str:
    try:
        return name.rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise damaged(f"a name is not UTF-8: {name[:80]!r}") from error
