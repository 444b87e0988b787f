"""The releases of a depot: listed, switched, and the old ones removed."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from landbridge.bundle import manifest
from landbridge.bundle.sign import signed_time
from landbridge.depot import registry
from landbridge.depot.incoming import state_file
from landbridge.depot.layout import Layout, sync_folder
from landbridge.errors import InputError


@dataclass(frozen=True)
class Release:
    """A release in a depot.

    Attributes:
        name: of the release.
        size: bytes of its files.
        files: how many.
        signed: seconds since 1970 when its manifest was signed; 0 for not at all.
        current: whether the node uses it.
        unique: bytes that no other release shares, and that removing it would free.
    """

    name: str
    size: int
    files: int
    signed: int
    current: bool
    unique: int


def releases(depot: Path) -> list[Release]:
    """All whole releases, the newest first."""
    layout = Layout(depot.absolute())
    now = layout.current_name()
    return [_describe(layout, name, current=name == now) for name in _newest_first(layout)]


def current(depot: Path) -> str | None:
    """The current release, None where there is none of this depot."""
    return Layout(depot.absolute()).current_name()


def switch(depot: Path, release: str, *, allow_downgrade: bool = False) -> bool:
    """Make a release of the depot the current one.

    Returns:
        Whether it was not before.

    Raises:
        InputError: there is no such release.
        BundleError: it is older than the current one.
        LandbridgeError: another process is changing the depot.
    """
    layout = Layout(depot.absolute())
    with layout.alone():
        if release not in layout.names():
            here = ", ".join(layout.names()) or "nothing"
            raise InputError(f"{depot}: no release {release!r}", f"name one that is here: {here}")
        if release == layout.current_name():
            return False
        signed = signed_time(layout.releases / release)
        layout.refuse_older(release, signed, allowed=allow_downgrade)
        layout.point_to(release)
        registry.write(layout)
        return True


def prune(depot: Path, keep: int) -> list[str]:
    """Remove all releases but the newest and the current one; files that others share stay.

    Args:
        depot: the depot's folder.
        keep: how many of the newest stay, at least one.

    Returns:
        The releases that were removed.

    Raises:
        InputError: `keep` is less than one.
        LandbridgeError: another process is changing the depot.
    """
    if keep < 1:
        raise InputError(f"--keep {keep}: too few", "keep at least one release")
    layout = Layout(depot.absolute())
    with layout.alone():
        gone = [n for n in _newest_first(layout)[keep:] if n != layout.current_name()]
        for name in gone:
            # Out of sight first: a release is never seen with a part of its files.
            hidden = layout.incoming / f".landbridge-{name}"
            (layout.releases / name).rename(hidden)
            sync_folder(layout.releases)
            shutil.rmtree(hidden)
        _remove_ended(layout, [*layout.names(), *gone])
        registry.write(layout)
    return gone


def _newest_first(layout: Layout) -> list[str]:
    """By the signed time; those without one by the time that they came."""

    def age(name: str) -> tuple[int, float]:
        folder = layout.releases / name
        return signed_time(folder), folder.stat().st_mtime

    return sorted(layout.names(), key=age, reverse=True)


def _describe(layout: Layout, name: str, *, current: bool) -> Release:
    root = layout.releases / name
    states = [(root / path).lstat() for path in manifest.all_files(root)]
    links = Counter(state.st_ino for state in states)
    own = {state.st_ino: state.st_size for state in states if state.st_nlink == links[state.st_ino]}
    return Release(
        name=name,
        size=sum(state.st_size for state in states),
        files=len(states),
        signed=signed_time(root),
        current=current,
        unique=sum(own.values()),
    )


def _remove_ended(layout: Layout, ended: Iterable[str]) -> None:
    for name in ended:
        shutil.rmtree(layout.incoming / name, ignore_errors=True)
        state_file(layout, name).unlink(missing_ok=True)
