"""What the depot's releases hold, by content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from landbridge.bundle import manifest
from landbridge.bundle.manifest import Entry
from landbridge.depot.layout import Layout, is_sealed, seal
from landbridge.errors import BundleError
from landbridge.files import sha256_of


class Held:
    """Finds the depot's files by their content.

    Args:
        layout: the depot.

    Attributes:
        damaged: files of releases that are not what their manifest says, with what differs.
    """

    def __init__(self, layout: Layout) -> None:
        self.damaged: dict[str, str] = {}
        self._root = layout.root
        self._places: dict[str, list[Path]] = {}
        for name in layout.names():
            folder = layout.releases / name
            for path, entry in self._entries(folder).items():
                self._places.setdefault(entry.sha256, []).append(folder / path)

    def find(self, entry: Entry) -> Path | None:
        """A file with this content; what is sealed is not read again.

        Called by several threads.
        """
        for place in self._places.get(entry.sha256, ()):
            if is_sealed(place, entry.size):
                return place
            fault = _fault(place, entry)
            if not fault:
                seal(place)
                return place
            self.damaged[place.relative_to(self._root).as_posix()] = fault
        return None

    def _entries(self, folder: Path) -> Mapping[str, Entry]:
        try:
            return manifest.read_manifest(folder)[1]
        except BundleError as error:
            self.damaged[(folder / manifest.NAME).relative_to(self._root).as_posix()] = str(
                error.message
            )
            return {}


def _fault(file: Path, promised: Entry) -> str:
    """What is wrong with a file, empty for nothing."""
    try:
        if file.is_symlink() or not file.is_file():
            return "missing"
        size = file.stat().st_size
        if size != promised.size:
            return f"{size} bytes instead of {promised.size}"
        found = sha256_of(file)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if found == promised.sha256 else f"sha256 {found} instead of {promised.sha256}"
