"""Files: written whole or not at all, hashed in streams, linked where one copy is enough."""

from __future__ import annotations

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


def write_gzip(path: Path, content: str) -> None:
    """Write text compressed; equal texts give equal bytes (no clock, no name inside)."""
    write_file(path, gzip.compress(content.encode(), mtime=0))


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
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if wanted > free:
        raise LandbridgeError(
            f"{folder}: {what} needs {wanted} bytes, {free} bytes are free",
            "free some space or name another folder",
        )


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """A temporary folder that is gone afterwards, whatever happens in it."""
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".landbridge-", dir=parent) as name:
        yield Path(name)
