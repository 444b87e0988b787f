"""A volume: a part of a bundle or a delta as one tar file, for a medium.

Each can be taken in alone and in any order. Format 1 of `<release>.volume-001-of-005.tar`, a
plain GNU tar:

- `volume.json`: `format`, `release`, `set` (12 hex digits that all volumes of one splitting
  share), `number`, `count`, `bases` (of a delta, see `bundle.delta`; else empty), `head` (names of
  the files that follow: `manifest.json`, then the signatures), `files` (paths that all volumes
  together carry), `pieces` (of this volume: `path`, `offset`, `length`, in bytes)
- the files of `head`, in each volume
- the pieces in their order: a whole file under its path, a piece of a cut one under
  `<path>.from-<offset, 15 digits>`, so that names sort as the pieces follow

Beside each volume lies `<volume>.sha256`, as sha256sum writes it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from landbridge.bundle.manifest import is_release
from landbridge.bundle.untrusted import read_json, strings_of
from landbridge.errors import BundleError

NAME = "volume.json"
FORMAT = 1
CHECKSUM = ".sha256"
PATTERN = "*.volume-*-of-*.tar"
# More would not be volumes but a mistake.
MOST = 99_999
_SET = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Piece:
    """A part of a file, or all of it.

    Attributes:
        path: the file's place in the bundle.
        offset: bytes of the file before the piece.
        length: bytes of the piece.
    """

    path: str
    offset: int
    length: int

    def member(self, size: int) -> str:
        """Its name in the tar, for a file of so many bytes."""
        return self.path if self.length == size else f"{self.path}.from-{self.offset:015}"


@dataclass(frozen=True)
class Volume:
    """`volume.json`, see the top of this file."""

    release: str
    set: str
    number: int
    count: int
    bases: list[str]
    head: list[str]
    files: list[str]
    pieces: list[Piece] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The volume's file name."""
        return f"{self.release}.volume-{self.number:03}-of-{self.count:03}.tar"

    def dump(self) -> bytes:
        """The JSON text."""
        return (json.dumps({"format": FORMAT, **asdict(self)}) + "\n").encode()


def read(data: bytes, origin: str) -> Volume:
    """Read `volume.json` as from a stranger; whether its paths are promised is not known yet.

    Args:
        data: the whole file.
        origin: the volume's name, for messages.

    Raises:
        BundleError: it is none.
    """
    found = read_json(data, f"{origin}: {NAME}", FORMAT)
    try:
        volume = Volume(
            release=found["release"],
            set=found["set"],
            number=found["number"],
            count=found["count"],
            bases=strings_of(found["bases"], origin),
            head=strings_of(found["head"], origin),
            files=strings_of(found["files"], origin),
            pieces=[_piece(fields) for fields in found["pieces"]],
        )
        numbers = (1, volume.number, volume.count, MOST)
        sound = _are_numbers(numbers) and list(numbers) == sorted(numbers)
        sound = sound and is_release(volume.release) and all(map(is_release, volume.bases))
        sound = sound and _SET.fullmatch(volume.set) is not None
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{origin}: {NAME}: damaged: {error!r}", _AGAIN) from error
    if not sound:
        raise BundleError(f"{origin}: {NAME}: damaged", _AGAIN)
    return volume


def _piece(fields: dict[str, Any]) -> Piece:
    piece = Piece(fields["path"], fields["offset"], fields["length"])
    numbers = (piece.offset, piece.length)
    if not isinstance(piece.path, str) or not _are_numbers(numbers) or min(numbers) < 0:
        raise ValueError(f"piece {fields!r:.200}")
    return piece


def _are_numbers(values: tuple[object, ...]) -> bool:
    return all(type(value) is int for value in values)


_AGAIN = "carry the volume over again"
