"""Receive a release: checked, assembled beside the others, and switched to in one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from landbridge.bundle.manifest import WORKERS
from landbridge.depot import registry
from landbridge.depot.incoming import Incoming
from landbridge.depot.layout import Layout
from landbridge.depot.reception import Received, Reception, listed
from landbridge.depot.sources import Folder, find
from landbridge.depot.volumes_in import receive_volumes
from landbridge.errors import BundleError
from landbridge.stages import Say, Tell

if TYPE_CHECKING:
    from landbridge.access import Access


def receive(
    sources: Sequence[Path | str],
    depot: Path,
    keys: Sequence[Path] = (),
    *,
    allow_unsigned: bool = False,
    allow_downgrade: bool = False,
    activate: bool = True,
    access: Access | None = None,
    say: Say = lambda _line: None,
    tell: Tell = lambda _new, _total: None,
) -> Received:
    """Take a release into the depot and make it current; what was begun before is continued.

    Args:
        sources: the folder of a bundle or a delta; the URL of a release that another depot serves,
            or of its `current`; or volumes, and folders with volumes.
        depot: the depot's folder.
        keys: files of trusted public keys; none means those of this machine.
        allow_unsigned: take what nobody signed, or a key that nobody trusts here.
        allow_downgrade: take what was signed before the current release.
        activate: make it current.
        access: how a URL is reached.
        say: takes a line of progress.
        tell: takes bytes read since the last call, and bytes in all; called by threads.

    Raises:
        InputError: a source is none.
        BundleError: no good signature; older; files are missing or bad. What was good stays for
            the next run; the old releases and `current` are as before.
        SourceError: another depot does not answer, or gives what is not promised.
        LandbridgeError: not enough space, or another process is changing the depot.
    """
    found, layout = find(sources), Layout(depot.absolute())
    with layout.alone():
        reception = Reception(
            layout,
            list(keys),
            allow_unsigned=allow_unsigned,
            allow_downgrade=allow_downgrade,
            say=say,
            tell=tell,
        )
        if isinstance(found, Folder):
            received = _receive_folder(reception, found)
        elif isinstance(found, str):
            received = _receive_url(reception, found, access)
        else:
            received = receive_volumes(reception, found)
        if activate and layout.current_name() != received.release:
            layout.point_to(received.release)
            received = replace(received, switched=True)
        registry.write(layout)
    return received


def _receive_url(reception: Reception, url: str, access: Access | None) -> Received:
    # Other verbs and sources have no use for what talks to servers, which is slow to import.
    from landbridge.access import Access  # noqa: PLC0415
    from landbridge.depot.remote import Remote, receive_remote  # noqa: PLC0415

    return receive_remote(reception, Remote(url, access or Access()))


def _receive_folder(reception: Reception, source: Folder) -> Received:
    offer = reception.admit(source.manifest(), source.signature, str(source.root))
    if reception.is_here(offer):
        return reception.again(offer)
    source.open(offer.entries)
    incoming = Incoming(reception.layout, offer)
    plan = reception.plan(incoming, source.has, source.bases)
    incoming.begin()
    incoming.drop_unfinished()
    reception.take_from_releases(incoming, plan)
    _copy(reception, incoming, source, plan.copies)
    return reception.complete(incoming, plan)


def _copy(
    reception: Reception, incoming: Incoming, source: Folder, copies: Mapping[str, str]
) -> None:
    """Copy files in parallel; the bad ones are named when all others are in.

    Raises:
        BundleError: some are bad.
        OSError: the depot cannot be written to.
    """
    sizes = {path: incoming.offer.entries[path].size for path in copies}
    total = sum(sizes.values())

    def told(chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            reception.tell(len(chunk), total)
            yield chunk

    def copy(path: str) -> str:
        try:
            return incoming.copy(path, told(source.chunks(copies[path], sizes[path])))
        except BundleError as error:
            return error.message

    with ThreadPoolExecutor(WORKERS) as pool:
        try:
            faults = dict(zip(copies.values(), pool.map(copy, copies), strict=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    bad = [f"{path}: {fault}" for path, fault in faults.items() if fault]
    if bad:
        raise BundleError(
            f"{source.root}: {len(bad)} of {len(copies)} files are bad, the others are kept:"
            f"{listed(bad)}",
            "carry it over again and run the command again: only the bad files are read then",
        )
