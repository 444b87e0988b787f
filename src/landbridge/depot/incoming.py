"""A release that is being received: what is sealed in it stays, whatever happens."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from landbridge.bundle import manifest
from landbridge.bundle.manifest import WORKERS, Entry
from landbridge.bundle.sign import check, trusted_keys
from landbridge.bundle.volume import Piece
from landbridge.depot.layout import Layout, is_sealed, seal
from landbridge.depot.offer import Offer
from landbridge.errors import BundleError
from landbridge.files import link, sha256_of, write_file

_PROGRAMS = {"bootstrap.sh"}
_NEW = ".new-"


class Incoming:
    """`incoming/<release>/`, made or continued.

    Args:
        layout: the depot.
        offer: what is being received.

    Attributes:
        offer: what is being received.
        root: the folder.
    """

    def __init__(self, layout: Layout, offer: Offer) -> None:
        self.offer = offer
        self.root = layout.incoming / offer.release
        self._layout = layout
        note = self.root / manifest.NAME
        # What another manifest led to is no use.
        self._continued = note.is_file() and note.read_bytes() == offer.manifest
        # Files with pieces that are not safe on the disk yet, and whether each is right.
        self._written: dict[str, bool] = {}
        self._by_content: dict[str, list[str]] = {}
        for path, entry in offer.entries.items():
            self._by_content.setdefault(entry.sha256, []).append(path)

    def begin(self) -> None:
        """Make the folder, or lay aside what a killed run left half-written."""
        if self._continued:
            self._tidy()
            return
        shutil.rmtree(self.root, ignore_errors=True)
        state_file(self._layout, self.offer.release).unlink(missing_ok=True)
        write_file(self.root / manifest.NAME, self.offer.manifest)
        self._continued = True

    def has(self, path: str) -> bool:
        """Whether this file is here and checked."""
        return self._continued and is_sealed(self.root / path, self.offer.entries[path].size)

    def has_content(self, path: str) -> bool:
        """Whether a file with the same content is here and checked."""
        return self._twin(path) is not None

    def wanted(self) -> list[str]:
        """One path for each content that is not here yet, sorted."""
        firsts = (min(paths) for paths in self._by_content.values())
        return sorted(path for path in firsts if not self.has_content(path))

    def same_content(self, path: str) -> list[str]:
        """All paths with the content of this one, itself among them."""
        return self._by_content[self.offer.entries[path].sha256]

    def allocated(self) -> int:
        """Bytes that unfinished files already take on the disk."""
        states = [(self.root / p).lstat() for p in self.unfinished()]
        return sum(state.st_blocks * 512 for state in states)

    def unfinished(self) -> list[str]:
        """Files that are here in part, or have not been checked."""
        return [p for p in self.offer.entries if (self.root / p).is_file() and not self.has(p)]

    def drop_unfinished(self) -> None:
        """Remove what is here in part: a file from a folder comes whole."""
        for path in self.unfinished():
            (self.root / path).unlink()

    def link(self, path: str, source: Path) -> None:
        """Take in a checked file of the depot without copying it."""
        target = self.root / path
        target.unlink(missing_ok=True)
        link(source, target)
        if path in _PROGRAMS:
            target.chmod(0o755)

    def copy(self, path: str, chunks: Iterable[bytes]) -> str:
        """Write a file and check it on the way; what is wrong is not kept.

        Returns:
            What differs, empty for nothing.
        """
        target, entry = self.root / path, self.offer.entries[path]
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=_NEW)
        digest, size = hashlib.sha256(), 0
        try:
            with os.fdopen(handle, "wb", buffering=0) as file:
                for chunk in chunks:
                    _write_all(file.fileno(), chunk, size)
                    digest.update(chunk)
                    size += len(chunk)
                fault = _difference(Entry(digest.hexdigest(), size), entry)
                if not fault:
                    _finish(file.fileno(), path)
                    Path(name).rename(target)
        finally:
            Path(name).unlink(missing_ok=True)
        return fault

    def put(self, piece: Piece, chunks: Iterable[bytes]) -> str:
        """Write a piece at its place in its file; a file in one piece is checked on the way.

        It lasts, and counts as here, after `settle`.

        Returns:
            What differs, empty for nothing.
        """
        target, entry = self.root / piece.path, self.offer.entries[piece.path]
        digest, offset = hashlib.sha256(), piece.offset
        file = _open_for_pieces(target, entry.size)
        try:
            for chunk in chunks:
                _write_all(file, chunk, offset)
                digest.update(chunk)
                offset += len(chunk)
        finally:
            os.close(file)
        whole = piece.length == entry.size
        found = Entry(digest.hexdigest(), piece.length)
        fault = _difference(found, entry) if whole else ""
        self._written[piece.path] = whole and not fault
        return fault

    def settle(self) -> None:
        """Bring the pieces to the disk, in parallel, and seal the files that are whole."""

        def settle_one(path: str) -> None:
            with (self.root / path).open("rb+") as file:
                if self._written[path]:
                    _finish(file.fileno(), path)
                else:
                    os.fdatasync(file)

        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(settle_one, self._written))
        self._written.clear()

    def check_unfinished(self) -> list[str]:
        """Read the files that came in pieces; those that are right are sealed.

        Returns:
            The others.
        """

        def right(path: str) -> bool:
            file, entry = self.root / path, self.offer.entries[path]
            if file.stat().st_size != entry.size or sha256_of(file) != entry.sha256:
                return False
            with file.open("rb+") as opened:
                _finish(opened.fileno(), path)
            return True

        paths = self.unfinished()
        with ThreadPoolExecutor(WORKERS) as pool:
            return [p for p, ok in zip(paths, pool.map(right, paths), strict=True) if not ok]

    def complete(self, keys: Iterable[Path], *, allow_unsigned: bool) -> None:
        """Make it a release of the depot, if everything is here and signed.

        Args:
            keys: files of trusted public keys; none means those of this machine.
            allow_unsigned: whether signatures may be missing or by keys that nobody trusts.

        Raises:
            BundleError: a file is missing, or a repository's signature is not good.
        """
        for path in self.offer.entries:
            twin = self._twin(path)
            if twin is not None and not self.has(path):
                self.link(path, self.root / twin)
        for path, signature in self.offer.signatures.items():
            write_file(self.root / path, signature)
        self._tidy()
        missing = [path for path in self.offer.entries if not self.has(path)]
        if missing:
            raise BundleError(f"{self.root}: {len(missing)} files are missing: {missing[0]}, …")
        self._check_signatures(list(keys), allow_unsigned=allow_unsigned)
        os.sync()
        self._layout.take_in(self.root, self.offer.release)
        state_file(self._layout, self.offer.release).unlink(missing_ok=True)

    def _twin(self, path: str) -> str | None:
        return next((twin for twin in self.same_content(path) if self.has(twin)), None)

    def _tidy(self) -> None:
        """Remove what nobody promised; everyone may read the rest."""
        keep = {manifest.NAME, *self.offer.entries, *self.offer.signatures}
        for path in set(manifest.all_files(self.root)) - keep:
            (self.root / path).unlink()
        for folder, _, _ in os.walk(self.root, topdown=False):
            Path(folder).chmod(0o755)
            if not any(Path(folder).iterdir()):
                Path(folder).rmdir()

    def _check_signatures(self, keys: list[Path], *, allow_unsigned: bool) -> None:
        accepted = ("good", "missing", "unknown") if allow_unsigned else ("good",)
        for path in self.offer.places_of_signatures():
            data = self.root / path.removesuffix(".asc")
            found = check(data, self.root / path, trusted_keys(keys))
            if found.state not in accepted:
                raise BundleError(
                    f"{self.offer.release}: {path}: {found.state}: {found.detail}",
                    "carry it over again, or sign the bundle again where it was built",
                )


def state_file(layout: Layout, release: str) -> Path:
    """Where it is noted which volumes of a release are in."""
    return layout.incoming / f"{release}.volumes.json"


def _open_for_pieces(target: Path, size: int) -> int:
    """Open a file of our own for writing: never one that a release shares."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or (target.exists() and target.lstat().st_nlink > 1):
        target.unlink()
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    state = os.fstat(file)
    if stat.S_ISREG(state.st_mode) and state.st_size > size:
        os.ftruncate(file, size)
    return file


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _finish(file: int, path: str) -> None:
    """Seal a checked file; only after its bytes are safe, or a power cut would leave a lie."""
    os.fdatasync(file)
    os.fchmod(file, 0o755 if path in _PROGRAMS else 0o644)
    seal(file)


def _difference(found: Entry, promised: Entry) -> str:
    if found.size != promised.size:
        return f"{found.size} bytes instead of {promised.size}"
    if found.sha256 != promised.sha256:
        return f"sha256 {found.sha256} instead of {promised.sha256}"
    return ""
