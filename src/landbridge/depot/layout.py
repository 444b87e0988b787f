"""Where things are in a depot, and the two steps that change what a node sees."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from landbridge.bundle import manifest
from landbridge.bundle.part import SEAL
from landbridge.bundle.sign import signed_time
from landbridge.errors import BundleError, LandbridgeError
from landbridge.files import exclusive, full_disk_named, put_in_place, recover

DEFAULT = Path("/var/lib/landbridge/depot")
# Ours and of no use once their process is gone.
_LEFTOVERS = (".landbridge-*", ".new-*")


@dataclass(frozen=True)
class Layout:
    """The paths of a depot.

    Attributes:
        root: the depot's folder, absolute.
    """

    root: Path

    @property
    def releases(self) -> Path:
        """Whole releases, each a folder named after it."""
        return self.root / "releases"

    @property
    def incoming(self) -> Path:
        """Receives that have not ended."""
        return self.root / "incoming"

    @property
    def current(self) -> Path:
        """The link to the release that the node uses."""
        return self.root / "current"

    def names(self) -> list[str]:
        """The whole releases, sorted by name."""
        folders = self.releases.iterdir() if self.releases.is_dir() else ()
        whole = (
            f.name for f in folders if manifest.is_release(f.name) and (f / manifest.NAME).is_file()
        )
        return sorted(whole)

    def current_name(self) -> str | None:
        """The release of this depot that is current."""
        try:
            name = self.current.readlink().name
        except OSError:
            return None
        here = self.releases / name
        return name if here.is_dir() and here.resolve() == self.current.resolve() else None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others from changing the depot until the block ends; its folders are made.

        Raises:
            LandbridgeError: another process is changing it, or its disk is full.
        """
        with exclusive(self.root, "another receive, prune or switch"), full_disk_named(self.root):
            for folder in (self.root, self.releases, self.incoming):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
            self._remove_leftovers()
            yield

    def _remove_leftovers(self) -> None:
        for pattern in _LEFTOVERS:
            for leftover in self.incoming.glob(pattern):
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                else:
                    leftover.unlink()

    def refuse_older(self, release: str, signed: int, *, allowed: bool) -> None:
        """Refuse what was signed before the current release, unless that is allowed.

        Args:
            release: what is to become current.
            signed: seconds since 1970; 0 where nobody vouches for a time, so that there is no
                order.
            allowed: let it pass.

        Raises:
            BundleError: it is older.
        """
        now = signed_time(self.current)
        if signed and now > signed and not allowed:
            name = self.current_name() or str(self.current)
            raise BundleError(
                f"{release}: signed {now - signed} seconds before the current {name}",
                "pass --allow-downgrade if an older release is what you want",
            )

    def take_in(self, new: Path, release: str) -> None:
        """Make the whole folder `new` a release, in one step."""
        place = self.releases / release
        recover(place)
        put_in_place(new, place)
        sync_folder(self.releases)

    def point_to(self, release: str) -> None:
        """Make a release the current one, in one step.

        Raises:
            LandbridgeError: `current` is something else than a link.
        """
        if self.current.exists() and not self.current.is_symlink():
            raise LandbridgeError(
                f"{self.current}: not a link", "move it away and run the command again"
            )
        new = self.incoming / ".landbridge-current"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        link = new / "link"
        link.symlink_to(Path("releases", release))
        link.replace(self.current)
        new.rmdir()
        sync_folder(self.root)


def is_sealed(file: Path, size: int) -> bool:
    """Whether a file is as it was left once its content was checked."""
    try:
        state = file.lstat()
    except OSError:
        return False
    return stat.S_ISREG(state.st_mode) and (state.st_size, state.st_mtime) == (size, SEAL)


def seal(file: Path | int) -> None:
    """Mark a file, whose content was checked and is on the disk, as checked."""
    os.utime(file, (SEAL, SEAL))


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
