"""Split a bundle or a delta into volumes (`bundle.volume`) of at most a given size."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from landbridge.bundle import delta, manifest, plain_tar
from landbridge.bundle.manifest import Entry
from landbridge.bundle.volume import CHECKSUM, MOST, NAME, PATTERN, Piece, Volume
from landbridge.errors import BundleError, InputError
from landbridge.files import CHUNK, need_space, put_in_place, recover, write_file
from landbridge.stages import Tell

# What a bare node needs before it has a toolkit that can receive volumes.
_FIRST = re.compile(r"bootstrap\.sh|content\.json|toolkit/.*|collections/.*|rpm/keys/.*")
_THEN = re.compile(r"rpm/[^/]+/repodata/.*")
_SIZE = re.compile(r"([0-9]+)([KMGT]?)(B?)")


@dataclass(frozen=True)
class VolumesMade:
    """What came of it.

    Attributes:
        release: what is in the volumes.
        volumes: their file names, in order.
        size: bytes of all volumes.
    """

    release: str
    volumes: list[str]
    size: int


@dataclass(frozen=True)
class _Load:
    """What is to be split: `texts` are those files that lie packed in a delta."""

    root: Path
    about: Volume
    head: dict[str, bytes]
    entries: Mapping[str, Entry]
    texts: Mapping[str, bytes]


def parse_size(text: str) -> int:
    """Bytes of a size as coreutils write it: K, M, G, T are powers of 1024, KB, MB… of 1000.

    Raises:
        InputError: not a size, or nothing at all.
    """
    found = _SIZE.fullmatch(text.strip().upper())
    size = 0
    if found and (found[2] or not found[3]):
        power = " KMGT".index(found[2] or " ")
        size = int(found[1]) * (1000 if found[3] else 1024) ** power
    if size < 1:
        raise InputError(f"size {text!r}: not a size", "write bytes, or a number with K, M, G or T")
    return size


def split(
    root: Path, output: Path, size: int, tell: Tell = lambda _new, _total: None
) -> VolumesMade:
    """Write a bundle or a delta as volumes; older volumes at `output` stay until these are whole.

    Args:
        root: the bundle's or the delta's folder.
        output: folder for the volumes.
        size: bytes that no volume exceeds.
        tell: takes bytes written since the last call, and bytes in all.

    Raises:
        InputError: the size is too small, or `output` holds something else than volumes.
        BundleError: the bundle is damaged.
        LandbridgeError: not enough space.
    """
    load = _load(root)
    if output.exists() and not _only_volumes(output):
        raise InputError(f"{output}: exists and holds other things than volumes", "name another")
    recover(output)
    plan = _plan(load, size)
    total = sum(map(_bytes_of, plan)) + len(plan) * sum(map(len, load.head.values()))
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    need_space(output.parent, total, f"{len(plan)} volumes")
    partial.mkdir(parents=True)
    written = 0
    with _Files(load) as files:
        for volume in plan:
            written += _write(partial, volume, load, files, lambda new: tell(new, total))
    put_in_place(partial, output)
    return VolumesMade(load.about.release, [volume.name for volume in plan], written)


def _load(root: Path) -> _Load:
    """What lies at `root`, in the order in which it is to be carried."""
    if delta.is_delta(root):
        about = delta.read_about(root)
        manifest_bytes, bases = delta.read_manifest(root), about.bases
        release, entries = manifest.parse(manifest_bytes, root / delta.METADATA)
        texts = delta.read_texts(root, entries)
        carried = [path for path in entries if path in texts or (root / path).is_file()]
    else:
        manifest_bytes, bases, texts = b"", [], {}
        release, entries = manifest.read_manifest(root)
        manifest_bytes = (root / manifest.NAME).read_bytes()
        carried = list(entries)
    signatures = [path for path in delta.signatures(entries) if (root / path).is_file()]
    head = {manifest.NAME: manifest_bytes}
    head |= {path: (root / path).read_bytes() for path in signatures}
    files = sorted(carried, key=lambda path: (_urgency(path), path))
    return _Load(
        root, Volume(release, "0" * 12, 0, 0, bases, list(head), files), head, entries, texts
    )


def _urgency(path: str) -> int:
    return 0 if _FIRST.fullmatch(path) else 1 if _THEN.fullmatch(path) else 2


def _plan(load: _Load, size: int) -> list[Volume]:
    """Fill volume after volume; a file larger than the room left is cut."""
    fixed = _fixed_bytes(load)
    _refuse_too_small(load, size, fixed)
    parts: list[list[Piece]] = [[]]
    room = size - fixed
    for path in load.about.files:
        offset, left = 0, load.entries[path].size
        while True:
            fits = _room_for_data(path, room)
            if fits < min(left, 1):
                parts.append([])
                room = size - fixed
                continue
            piece = Piece(path, offset, min(left, fits))
            parts[-1].append(piece)
            room -= _cost(path, piece.length)
            offset, left = offset + piece.length, left - piece.length
            if not left:
                break
    if len(parts) > MOST:
        raise InputError(f"size {size}: makes more than {MOST} volumes", "give a larger size")
    digest = hashlib.sha256(repr((load.about, parts)).encode()).hexdigest()[:12]
    about = replace(load.about, set=digest, count=len(parts))
    return [replace(about, number=n, pieces=pieces) for n, pieces in enumerate(parts, 1)]


def _refuse_too_small(load: _Load, size: int, fixed: int) -> None:
    """Room for one block of the file with the longest name is the least."""
    least = fixed + max((_cost(path, 1) for path in load.about.files), default=0)
    if size < least:
        raise InputError(
            f"size {size}: too small for a volume of {load.about.release}", f"give at least {least}"
        )


def _fixed_bytes(load: _Load) -> int:
    """Bytes of a volume without pieces, with the most digits that its numbers can have."""
    empty = replace(load.about, number=MOST, count=MOST).dump()
    head = sum(_stored(name, len(data)) for name, data in load.head.items())
    return _stored(NAME, len(empty)) + plain_tar.BLOCK + head + len(plain_tar.END)


def _cost(path: str, length: int) -> int:
    """The most bytes that a piece takes of a volume: its line in volume.json, header, data."""
    return _overhead(path) + length + len(plain_tar.padding(length))


def _overhead(path: str) -> int:
    line = json.dumps(asdict(Piece(path, 10**15, 10**15)))
    return len(line) + len(", ") + len(plain_tar.header(Piece(path, 0, 0).member(1), 0))


def _room_for_data(path: str, room: int) -> int:
    """Bytes of data, in whole blocks, that go with a piece into the room; negative for none."""
    return (room - _overhead(path)) // plain_tar.BLOCK * plain_tar.BLOCK


def _stored(name: str, size: int) -> int:
    return len(plain_tar.header(name, size)) + size + len(plain_tar.padding(size))


def _bytes_of(volume: Volume) -> int:
    return sum(_cost(piece.path, piece.length) for piece in volume.pieces)


class _Files:
    """The files to carry, read in order and once; each is checked as its last byte goes by."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._open: BinaryIO | None = None
        self._digest = hashlib.sha256()

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            self._open.close()

    def read(self, piece: Piece) -> Iterator[bytes]:
        """The bytes of a piece.

        Raises:
            BundleError: the file is not what the manifest promises.
        """
        entry, place = self._load.entries[piece.path], self._load.root / piece.path
        if piece.offset == 0:
            self._start(place)
        if piece.path in self._load.texts:
            text = self._load.texts[piece.path]
            chunks = iter([text[piece.offset : piece.offset + piece.length]])
        else:
            chunks = self._chunks(piece.length, place)
        for chunk in chunks:
            self._digest.update(chunk)
            yield chunk
        whole = piece.offset + piece.length == entry.size
        if whole and self._digest.hexdigest() != entry.sha256:
            raise BundleError(f"{place}: not what the manifest promises", _VERIFY)

    def _start(self, place: Path) -> None:
        self.__exit__()
        self._digest = hashlib.sha256()
        self._open = place.open("rb") if place.is_file() else None

    def _chunks(self, length: int, place: Path) -> Iterator[bytes]:
        while length:
            chunk = self._open.read(min(CHUNK, length)) if self._open else b""
            if not chunk:
                raise BundleError(f"{place}: missing or shorter than promised", _VERIFY)
            length -= len(chunk)
            yield chunk


def _write(
    folder: Path, volume: Volume, load: _Load, files: _Files, tell: Callable[[int], None]
) -> int:
    """Write a volume and its checksum; returns its bytes."""
    digest, written = hashlib.sha256(), 0
    with (folder / volume.name).open("wb") as file:
        for chunk in _contents(volume, load, files):
            digest.update(chunk)
            file.write(chunk)
            written += len(chunk)
            tell(len(chunk))
    line = f"{digest.hexdigest()}  {volume.name}\n"
    write_file(folder / f"{volume.name}{CHECKSUM}", line)
    return written


def _contents(volume: Volume, load: _Load, files: _Files) -> Iterator[bytes]:
    for name, data in {NAME: volume.dump(), **load.head}.items():
        yield plain_tar.header(name, len(data)) + data + plain_tar.padding(len(data))
    for piece in volume.pieces:
        name = piece.member(load.entries[piece.path].size)
        mode = 0o755 if piece.path == "bootstrap.sh" else 0o644
        yield plain_tar.header(name, piece.length, mode)
        yield from files.read(piece)
        yield plain_tar.padding(piece.length)
    yield plain_tar.END


def _only_volumes(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = [path.name.removesuffix(CHECKSUM) for path in folder.iterdir()]
    return all(Path(name).match(PATTERN) for name in names)


_VERIFY = "run landbridge bundle verify on it and make it again"
