"""Folders that a release comes from: a bundle, or a delta."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from landbridge.bundle import delta, manifest
from landbridge.bundle.manifest import Entry
from landbridge.bundle.untrusted import open_file, read_file
from landbridge.bundle.volume import PATTERN
from landbridge.errors import BundleError, InputError
from landbridge.files import CHUNK

SCHEMES = ("https://", "http://")
_LARGEST_SIGNATURE = 1 << 20


class Folder:
    """A bundle on a medium.

    Args:
        root: its folder.

    Attributes:
        bases: releases that the receiver must have; none for a bundle.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bases: list[str] = []

    def manifest(self) -> bytes:
        """The manifest's bytes."""
        return read_file(self.root, manifest.NAME)

    def signature(self, path: str) -> bytes | None:
        """A signature, None where there is none."""
        try:
            return read_file(self.root, path, _LARGEST_SIGNATURE)
        except FileNotFoundError:
            return None

    def open(self, entries: Mapping[str, Entry]) -> None:
        """Get ready to give files, once the manifest is believed."""

    def has(self, path: str) -> bool:
        """Whether there is such a file here; its content is not looked at."""
        try:
            return stat.S_ISREG((self.root / path).lstat().st_mode)
        except OSError:
            return False

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        """The bytes of a file, and one more at most than promised.

        Raises:
            BundleError: it cannot be read, or a link leads to it.
        """
        left = size + 1
        try:
            with open_file(self.root, path) as file:
                while left and (chunk := file.read(min(CHUNK, left))):
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise BundleError(f"{self.root / path}: cannot be read: {error.strerror}") from error


class Delta(Folder):
    """A delta on a medium."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.bases = delta.read_about(root).bases
        self._texts: Mapping[str, bytes] = {}

    def manifest(self) -> bytes:
        """The manifest's bytes."""
        return delta.read_manifest(self.root)

    def open(self, entries: Mapping[str, Entry]) -> None:
        """Unpack the texts."""
        self._texts = delta.read_texts(self.root, entries)

    def has(self, path: str) -> bool:
        """Whether there is such a file here."""
        return path in self._texts or super().has(path)

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        """The bytes of a file."""
        if path in self._texts:
            return iter([self._texts[path]])
        return super().chunks(path, size)


def find(sources: Sequence[Path | str]) -> Folder | str | list[Path]:
    """Tell what was given: one bundle, one delta, the URL of a release, or volumes.

    Args:
        sources: a bundle's or a delta's folder, or a URL; or volumes and folders with volumes.

    Raises:
        InputError: something else, or more than one release.
    """
    urls = [source for source in sources if str(source).startswith(SCHEMES)]
    paths = [Path(source) for source in sources if source not in urls]
    folders = [path for path in paths if _is_whole(path)]
    if (urls or folders) and len(sources) > 1:
        raise InputError(
            f"{[*urls, *folders][0]}: is not all that was given",
            "give one bundle, delta or URL at a time",
        )
    if urls:
        return str(urls[0])
    if folders:
        return Delta(folders[0]) if delta.is_delta(folders[0]) else Folder(folders[0])
    return sorted({volume for path in paths for volume in _volumes(path)})


def _is_whole(path: Path) -> bool:
    return delta.is_delta(path) or (path / manifest.NAME).is_file()


def _volumes(path: Path) -> list[Path]:
    if path.is_file() and path.match(PATTERN):
        return [path]
    found = list(path.glob(PATTERN)) if path.is_dir() else []
    if not found:
        raise InputError(f"{path}: no bundle, delta or volume", "give what bundle build wrote")
    return found
