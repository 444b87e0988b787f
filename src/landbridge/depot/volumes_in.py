"""Receive volumes, in any order and over several runs, each read once and written in place."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from landbridge.bundle import manifest, plain_tar, volume
from landbridge.bundle.untrusted import LARGEST_HEAD, open_file, read_file
from landbridge.bundle.volume import Piece, Volume
from landbridge.depot.incoming import Incoming, state_file
from landbridge.depot.offer import Offer
from landbridge.depot.reception import Plan, Received, Reception, listed
from landbridge.errors import BundleError
from landbridge.files import CHUNK, write_file

_CHECKSUM = re.compile(rb"([0-9a-f]{64})[ \n]")


def receive_volumes(reception: Reception, volumes: Sequence[Path]) -> Received:
    """Take in volumes of one release; when the last one is in, the release is complete.

    Raises:
        BundleError: volumes are missing, bad or of two splittings, or what `Reception` refuses.
    """
    intake = _Intake(reception, sum(path.stat().st_size for path in volumes))
    for path in volumes:
        intake.take(path)
    return intake.end()


class _Volume:
    """The bytes of a volume, hashed as they are read."""

    def __init__(self, path: Path, reception: Reception, total: int) -> None:
        self.path = path
        self._tell, self._total = reception.tell, total
        self._digest = hashlib.sha256()
        try:
            self._file: BinaryIO = open_file(path.parent, path.name)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}", _AGAIN) from error

    def __enter__(self) -> _Volume:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise BundleError(f"cannot be read: {error.strerror}", _AGAIN) from error
        self._digest.update(data)
        self._tell(len(data), self._total)
        return data

    def fault(self) -> str:
        """What is wrong with the whole of it by its checksum, empty for nothing."""
        name = f"{self.path.name}{volume.CHECKSUM}"
        try:
            line = read_file(self.path.parent, name, CHUNK)
            while self.read(CHUNK):
                pass
        except OSError as error:
            return f"{name}: {error.strerror}"
        except BundleError as error:
            return error.message
        promised = _CHECKSUM.match(line)
        if promised is None:
            return f"{name}: no checksum"
        found = self._digest.hexdigest()
        return "" if found.encode() == promised[1] else f"sha256 {found}, not as {name} says"


@dataclass
class _State:
    """Which volumes of a splitting are in, and the paths that each had pieces of."""

    file: Path
    splitting: str
    count: int
    taken: dict[int, list[str]] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path, about: Volume) -> _State:
        """What was noted; nothing if it was another splitting."""
        state = cls(file, about.set, about.count)
        if file.is_file():
            data = json.loads(file.read_bytes())
            if data["set"] == about.set:
                state.taken = {int(number): paths for number, paths in data["taken"].items()}
        return state

    def save(self) -> None:
        write_file(self.file, json.dumps({"set": self.splitting, "taken": self.taken}) + "\n")

    def missing(self) -> list[int]:
        return [n for n in range(1, self.count + 1) if n not in self.taken]

    def forget(self, paths: set[str]) -> list[int]:
        """Take back the volumes with pieces of these files."""
        gone = [number for number, had in self.taken.items() if not paths.isdisjoint(had)]
        for number in gone:
            del self.taken[number]
        self.save()
        return sorted(gone)


@dataclass(frozen=True)
class _Release:
    """What the first volume told, and what became of it."""

    about: Volume
    head: dict[str, bytes]
    offer: Offer
    incoming: Incoming
    plan: Plan
    state: _State


class _Intake:
    """Takes one volume after the other.

    Args:
        reception: the run.
        total: bytes of all volumes, for the progress.
    """

    def __init__(self, reception: Reception, total: int) -> None:
        self._reception, self._total = reception, total
        self._faults: dict[str, str] = {}
        self._release: _Release | None = None
        self._here: Received | None = None

    def take(self, path: Path) -> None:
        """Take in a volume; a bad one is remembered, and the next one can come."""
        if self._here:
            return
        with _Volume(path, self._reception, self._total) as source:
            try:
                about = self._read(source)
            except BundleError as error:
                fault = source.fault()
                if not fault:
                    raise BundleError(f"{path.name}: {error.message}", error.mend) from error
                self._faults[path.name] = fault
                return
            if about and self._release:
                if fault := source.fault():
                    self._faults[path.name] = fault
                elif path.name not in self._faults:
                    paths = sorted({piece.path for piece in about.pieces})
                    self._release.state.taken[about.number] = paths
                    self._release.state.save()
                    self._reception.say(f"{path.name}: is in")

    def end(self) -> Received:
        """Complete the release, or say what it lacks."""
        if self._here:
            return self._here
        bad = [f"{name}: {fault}" for name, fault in self._faults.items()]
        if self._release is None:
            raise BundleError(f"no volume is good:{listed(bad)}", _AGAIN)
        incoming, state = self._release.incoming, self._release.state
        if incoming.wanted() and not state.missing():
            incoming.check_unfinished()
        rest = incoming.wanted()
        if not rest:
            return self._reception.complete(incoming, self._release.plan)
        if not state.missing():
            bad += [f"{path}: sha256 differs from the manifest" for path in rest]
            twins = {twin for path in rest for twin in incoming.same_content(path)}
            state.forget(twins)
        raise self._incomplete(self._release, bad)

    def _incomplete(self, release: _Release, bad: list[str]) -> BundleError:
        missing = release.state.missing()
        numbers = ", ".join(map(str, missing))
        what = f"volume {numbers}" if len(missing) == 1 else f"volumes {numbers}"
        verb = "is" if len(missing) == 1 else "are"
        text = f"{what} of {release.about.count} {verb} missing; what came is kept"
        if bad:
            text += f"\nbad:{listed(bad)}"
        return BundleError(f"release {release.about.release}: {text}", _MORE)

    def _read(self, source: _Volume) -> Volume | None:
        """Read a volume to the end of its pieces; None where there is nothing to read."""
        members, name = plain_tar.members(source.read), source.path.name
        about = volume.read(_next(members, volume.NAME).content(LARGEST_HEAD), name)
        if about.head[:1] != [manifest.NAME]:
            raise plain_tar.damaged(f"{manifest.NAME} does not come first")
        head = {}
        for part in about.head:
            head[part] = _next(members, part).content(LARGEST_HEAD)
        release = self._begin(about, head, source.path)
        if release is None:
            return None
        if about.number in release.state.taken:
            self._reception.say(f"{name}: was in before")
            return None
        try:
            for piece in about.pieces:
                self._take_piece(release, piece, members, name)
        finally:
            release.incoming.settle()
        return about

    def _take_piece(
        self, release: _Release, piece: Piece, members: Iterator[plain_tar.Member], name: str
    ) -> None:
        entry = release.offer.entries.get(piece.path)
        if entry is None or piece.offset + piece.length > entry.size:
            raise plain_tar.damaged(f"{piece} is not in the manifest")
        member = _next(members, piece.member(entry.size))
        if member.size != piece.length:
            raise plain_tar.damaged(f"{piece} has {member.size} bytes")
        if not release.incoming.has_content(piece.path) and (
            fault := release.incoming.put(piece, member.chunks())
        ):
            self._faults[name] = f"{piece.path}: {fault}"

    def _begin(self, about: Volume, head: dict[str, bytes], path: Path) -> _Release | None:
        """The release that a volume belongs to, checked; None where it is here already."""
        known = self._release
        if known and (known.about.release, known.about.set) != (about.release, about.set):
            raise BundleError(
                "is not of the same splitting as the volumes before",
                "give the volumes of one release, split once, at a time",
            )
        if known and known.head == head:
            return known
        offer = self._reception.admit(head[manifest.NAME], head.get, str(path))
        if offer.release != about.release or (known and known.offer.manifest != offer.manifest):
            raise plain_tar.damaged("its manifest is of another release")
        if known:
            return known
        if self._reception.is_here(offer):
            self._here = self._reception.again(offer)
            return None
        self._release = self._start(about, head, offer)
        return self._release

    def _start(self, about: Volume, head: dict[str, bytes], offer: Offer) -> _Release:
        incoming = Incoming(self._reception.layout, offer)
        carried = set(about.files)
        plan = self._reception.plan(incoming, carried.__contains__, about.bases)
        incoming.begin()
        state = _State.load(state_file(self._reception.layout, offer.release), about)
        self._reception.take_from_releases(incoming, plan)
        return _Release(about, head, offer, incoming, plan, state)


def _next(members: Iterator[plain_tar.Member], name: str) -> plain_tar.Member:
    member = next(members, None)
    if member is None or member.name != name:
        found = member and member.name
        raise plain_tar.damaged(f"{found!r} where {name!r} should be")
    return member


_AGAIN = "carry it over again"
_MORE = "give the missing volumes in any order; those that are in need not be given again"
