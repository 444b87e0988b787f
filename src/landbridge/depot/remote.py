"""A release that another depot serves: what comes is kept, so that the next run continues."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from landbridge.access import Access
from landbridge.bundle import manifest
from landbridge.bundle.fetch import Cache
from landbridge.bundle.transport import Missing, Transport
from landbridge.depot.incoming import Incoming
from landbridge.depot.layout import Layout
from landbridge.depot.offer import Offer
from landbridge.depot.reception import Plan, Received, Reception
from landbridge.errors import BundleError, SourceError
from landbridge.lock import Artifact

_CURRENT = "/current"
_LARGEST_MANIFEST = 1 << 28
_LARGEST_SIGNATURE = 1 << 20
_MEND = (
    "see that the depot answers there (--ca names the authority of its certificate; --client-cert, "
    "--client-key or netrc say who asks), then run this again: what came is kept"
)


class Remote:
    """A release at a URL.

    Args:
        url: `…/current` or `…/releases/<release>`, without a slash at its end.
        access: how it is reached.
    """

    def __init__(self, url: str, access: Access) -> None:
        self.url = url.rstrip("/")
        self._access = access
        self._transport = Transport(access)

    def manifest(self) -> bytes:
        """The manifest's bytes."""
        with _mend_said():
            return self._read(manifest.NAME, _LARGEST_MANIFEST)

    def signature(self, path: str) -> bytes | None:
        """A signature, None where there is none."""
        with _mend_said():
            try:
                return self._read(path, _LARGEST_SIGNATURE)
            except Missing:
                return None

    def fetch(self, cache: Cache, offer: Offer, paths: Sequence[str]) -> None:
        """Bring files of the offer into the cache.

        Raises:
            SourceError: one cannot be had, or is not what the manifest promises.
        """
        # `current` may lead elsewhere before the last file has come.
        base = self.url
        if base.endswith(_CURRENT):
            base = f"{base.removesuffix(_CURRENT)}/releases/{offer.release}"
        wanted = [
            Artifact(
                ecosystem="toolkit",
                name=path,
                version=offer.release,
                path=path,
                url=f"{base}/{quote(path)}",
                sha256=offer.entries[path].sha256,
                size=offer.entries[path].size,
            )
            for path in paths
        ]
        with _mend_said():
            cache.fetch(wanted)

    def cache(self, layout: Layout, reception: Reception) -> Cache:
        """Where files are while they come."""
        return Cache(layout.incoming / "mirror", reception.tell, self._access)

    def _read(self, path: str, largest: int) -> bytes:
        data = bytearray()
        with self._transport.ask(f"{self.url}/{quote(path)}") as answer:
            for chunk in answer.chunks:
                data += chunk
                if len(data) > largest:
                    raise BundleError(f"{self.url}/{path}: larger than {largest} bytes")
        return bytes(data)


def receive_remote(reception: Reception, source: Remote) -> Received:
    """Take in a release from another depot.

    Raises:
        BundleError: see `Reception`.
        SourceError: the depot does not answer, refuses, or gives what is not promised.
    """
    offer = reception.admit(source.manifest(), source.signature, source.url)
    if reception.is_here(offer):
        return reception.again(offer)
    incoming = Incoming(reception.layout, offer)
    cache = source.cache(reception.layout, reception)
    plan = _with_cached(reception.plan(incoming, lambda _path: True, ()), offer, cache)
    incoming.begin()
    incoming.drop_unfinished()
    reception.take_from_releases(incoming, plan)
    source.fetch(cache, offer, list(plan.copies.values()))
    for path, given in plan.copies.items():
        incoming.link(path, cache.path(offer.entries[given].sha256))
    received = reception.complete(incoming, plan)
    shutil.rmtree(cache.root)
    return received


def _with_cached(plan: Plan, offer: Offer, cache: Cache) -> Plan:
    """What an earlier run has brought needs neither space nor time."""
    here: dict[str, Path] = {}
    for path in plan.copies:
        entry = offer.entries[path]
        if cache.has(entry.sha256, entry.size):
            here[path] = cache.path(entry.sha256)
    copies = {path: given for path, given in plan.copies.items() if path not in here}
    return replace(plan, links={**plan.links, **here}, copies=copies)


@contextmanager
def _mend_said() -> Iterator[None]:
    """Faults of sources are mended in a sources file, which a depot has none of."""
    try:
        yield
    except Missing:
        raise
    except SourceError as error:
        raise SourceError(error.message, _MEND) from error
