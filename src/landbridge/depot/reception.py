"""The steps that receiving has, wherever a release comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from landbridge.bundle import manifest
from landbridge.bundle.manifest import WORKERS
from landbridge.bundle.sign import signed_time
from landbridge.depot.held import Held
from landbridge.depot.incoming import Incoming
from landbridge.depot.layout import Layout, is_sealed
from landbridge.depot.offer import GetSignature, Offer, admit
from landbridge.errors import BundleError
from landbridge.files import need_space, write_file
from landbridge.stages import Say, Tell, megabytes

_SHOWN = 5


@dataclass(frozen=True)
class Received:
    """What came of it.

    Attributes:
        release: what is in the depot now.
        files: how many files it has.
        linked: contents that were taken from other releases in this run.
        copied: bytes that were not in the depot when this run began, and came from the source.
        damaged: files of older releases that are not what they should be, with what differs.
        present: the release was here already, whole.
        switched: it was made current.
    """

    release: str
    files: int
    linked: int = 0
    copied: int = 0
    damaged: Mapping[str, str] = field(default_factory=dict)
    present: bool = False
    switched: bool = False


@dataclass(frozen=True)
class Plan:
    """Where the contents come from that are not here yet.

    Attributes:
        links: by one of its paths, a file of another release.
        copies: by one of its paths, the path in the source.
        damaged: see `Received`.
    """

    links: Mapping[str, Path]
    copies: Mapping[str, str]
    damaged: Mapping[str, str]


@dataclass(frozen=True)
class Reception:
    """One run, with what its steps share.

    Attributes:
        layout: the depot.
        keys: files of trusted public keys; none means those of this machine.
        allow_unsigned: see `receive`, and the others too.
    """

    layout: Layout
    keys: Sequence[Path]
    allow_unsigned: bool
    allow_downgrade: bool
    say: Say
    tell: Tell

    def admit(self, data: bytes, get_signature: GetSignature, origin: str) -> Offer:
        """Check signature and order of a manifest.

        Raises:
            BundleError: one of them is not right.
        """
        offer = admit(data, get_signature, origin, self.keys, allow_unsigned=self.allow_unsigned)
        self.layout.refuse_older(offer.release, offer.signed, allowed=self.allow_downgrade)
        return offer

    def is_here(self, offer: Offer) -> bool:
        """Whether the depot has this very release, and nobody touched it."""
        root = self.layout.releases / offer.release
        return (
            offer.release in self.layout.names()
            and (root / manifest.NAME).read_bytes() == offer.manifest
            and all(is_sealed(root / path, entry.size) for path, entry in offer.entries.items())
        )

    def again(self, offer: Offer) -> Received:
        """Nothing is to be received; a newer signature is taken."""
        root = self.layout.releases / offer.release
        if offer.signed > signed_time(root):
            for path, signature in offer.signatures.items():
                write_file(root / path, signature)
            self.say(f"{offer.release}: is here already; its newer signatures were taken")
        else:
            self.say(f"{offer.release}: is here already")
        return Received(offer.release, len(offer.entries), present=True)

    def plan(
        self, incoming: Incoming, carries: Callable[[str], bool], bases: Sequence[str]
    ) -> Plan:
        """Find every content that is not here yet; nothing is changed.

        Args:
            incoming: what is here already.
            carries: whether the source has the file of that path.
            bases: releases that the source counts on.

        Raises:
            BundleError: neither the depot nor the source has some of them.
        """
        held, wanted, entries = Held(self.layout), incoming.wanted(), incoming.offer.entries
        with ThreadPoolExecutor(WORKERS) as pool:
            found = list(pool.map(lambda path: held.find(entries[path]), wanted))
        links = {path: place for path, place in zip(wanted, found, strict=True) if place}
        for path, fault in sorted(held.damaged.items()):
            self.say(f"damaged: {self.layout.root / path}: {fault}")
        copies, lacking = {}, []
        for path in (path for path in wanted if path not in links):
            given = next(filter(carries, incoming.same_content(path)), None)
            if given is None:
                lacking.append(path)
            else:
                copies[path] = given
        if lacking:
            raise self._lacks(incoming.offer.release, lacking, bases)
        return Plan(links, copies, held.damaged)

    def take_from_releases(self, incoming: Incoming, plan: Plan) -> None:
        """Check the space for what is to be copied, then link what need not be.

        Raises:
            LandbridgeError: not enough space.
        """
        release, entries = incoming.offer.release, incoming.offer.entries
        size = sum(entries[path].size for path in plan.copies)
        need_space(incoming.root, size - incoming.allocated(), f"receiving {release}")
        for path, place in plan.links.items():
            incoming.link(path, place)
        self.say(
            f"{release}: {len(plan.links)} files are in the depot, "
            f"{len(plan.copies)} ({megabytes(size)}) are to come"
        )

    def complete(self, incoming: Incoming, plan: Plan) -> Received:
        """Make a release of what came in.

        Raises:
            BundleError: a repository's signature is not good.
        """
        incoming.complete(self.keys, allow_unsigned=self.allow_unsigned)
        entries = incoming.offer.entries
        copied = sum(entries[path].size for path in plan.copies)
        links, damaged = len(plan.links), plan.damaged
        return Received(incoming.offer.release, len(entries), links, copied, damaged)

    def _lacks(self, release: str, lacking: list[str], bases: Sequence[str]) -> BundleError:
        here = self.layout.names()
        absent = [base for base in bases if base not in here]
        if bases:
            why = f"it is a delta to {', '.join(bases)}"
            why += f", and {', '.join(absent)} is not here" if absent else ", which is damaged here"
            mend = "receive that release first, or carry over a delta to one that is here"
        else:
            why, mend = "the source lacks them too", "carry it over again"
        text = f"{release}: {len(lacking)} files are missing: {why}{listed(lacking)}"
        return BundleError(text, f"{mend} (here: {', '.join(here) or 'nothing'})")


def listed(lines: Sequence[str]) -> str:
    """The first few, each in a line of its own."""
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "".join(f"\n  {line}" for line in [*lines[:_SHOWN], *more])
