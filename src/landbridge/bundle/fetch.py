"""The cache: every file once, named by its sha256, fetched in parallel and hashed on the way."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple, TypeVar

from landbridge.access import Access
from landbridge.bundle.part import SEAL, Part, hold, seal
from landbridge.bundle.transport import Answer, Interrupted, Missing, Transport
from landbridge.errors import LandbridgeError, SourceError
from landbridge.files import CHUNK, need_space, sha256_of, write_file
from landbridge.lock import Artifact
from landbridge.stages import Tell

WORKERS = 8
BUILT = "built:"
# Seconds between the tries at one file; one more try than pauses.
PAUSES = (1.0, 2.0, 4.0)
# However long a source asks to be left alone.
LONGEST_PAUSE = 60.0
_LOCK_PAUSE = 0.1
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CHANGED = "the mirror is being changed or is damaged: sync it, then run this again"

# Further URLs of an artifact, for when its own has it no more.
Alternatives = Callable[[Artifact], Sequence[str]]
_Result = TypeVar("_Result")


class _Promise(NamedTuple):
    """What is known of a file before it comes; empty or None for what is not."""

    sha256: str = ""
    md5: str = ""
    size: int | None = None

    def broken_by(self, part: Part) -> str:
        """How the file differs from the promise; empty if it does not."""
        if self.size is not None and self.size != part.size:
            return f"got {part.size} bytes, the index promises {self.size}"
        if self.sha256 and self.sha256 != part.sha256:
            return f"got sha256 {part.sha256}, the index promises {self.sha256}"
        if self.md5 and self.md5 != (found := _md5_of(part.path)):
            return f"got md5 {found}, the index promises {self.md5}"
        return ""


class Cache:
    """A content-addressed folder of files, used by several threads and processes.

    Args:
        root: the folder; made when it is missing.
        tell: is told of every piece while files are fetched; called by several threads.
        access: how the sources are reached.
        pauses: seconds between the tries at one file.
    """

    def __init__(
        self,
        root: Path,
        tell: Tell = lambda _new, _total: None,
        access: Access | None = None,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.root = root.absolute()
        self._access = access or Access()
        self._transport = Transport(self._access)
        self._tell = tell
        self._pauses = pauses
        self._counting = Lock()
        self._fetched = self._told = self._wanted = 0
        self._stop = Event()

    @property
    def access(self) -> Access:
        """How the sources are reached."""
        return self._access

    @property
    def fetched(self) -> int:
        """Bytes that had to be fetched so far."""
        return self._fetched

    def path(self, sha256: str) -> Path:
        """Where the file with this hash is or would be."""
        return self.root / "sha256" / sha256[:2] / sha256

    def folder(self, name: str) -> Path:
        """A folder of the cache that an outside tool may use as its own."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Whether the file is here and is what its name says; a sealed one is not read again.

        Args:
            sha256: hex digest.
            size: bytes that it must have, where they are known.
        """
        path = self.path(sha256)
        try:
            state = path.stat()
            if state.st_mtime == SEAL and size in (None, state.st_size):
                return True
            if sha256_of(path) == sha256:
                seal(path)
                return size in (None, state.st_size)
        except FileNotFoundError:
            return False
        path.unlink(missing_ok=True)
        return False

    def missing(self, artifacts: Iterable[Artifact]) -> list[Artifact]:
        """Those whose files are not here yet, one for each file, in the order given."""
        wanted = list({artifact.sha256: artifact for artifact in artifacts}.values())
        with ThreadPoolExecutor(WORKERS) as pool:
            here = list(pool.map(lambda artifact: self.has(artifact.sha256, artifact.size), wanted))
        return [artifact for artifact, hit in zip(wanted, here, strict=True) if not hit]

    def fetch(
        self, artifacts: Iterable[Artifact], alternatives: Alternatives = lambda _artifact: ()
    ) -> None:
        """Fetch what is not here yet, in parallel; what an earlier run began is continued.

        Args:
            artifacts: what is wanted.
            alternatives: URLs to try when an artifact's own URL has it no more (404).

        Raises:
            SourceError: a file is missing at its source, or is not what the lock promises.
            LandbridgeError: not enough space; what came until then stays for the next run.
        """
        missing = self.missing(artifacts)
        total = sum(artifact.size for artifact in missing)
        begun = sum(_size_of(self._part_path(artifact.sha256)) for artifact in missing)
        need_space(self.root, total - begun, f"fetching {len(missing)} files")
        self._wanted = self._told + total
        with self._faults_named(), ThreadPoolExecutor(WORKERS) as pool:
            tasks = [pool.submit(self._fetch_one, a, alternatives) for a in missing]
            try:
                for task in wait_for(tasks, return_when=FIRST_EXCEPTION).done:
                    task.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
            finally:
                self._stop.clear()

    def learn(self, url: str, md5: str | None = None, sha256: str | None = None) -> Path:
        """Fetch a file of which an index does not tell all; a known hash saves the next fetch.

        Returns:
            The file in the cache, named by its sha256.

        Raises:
            SourceError: it cannot be fetched, or is not what the hashes promise.
        """
        known = sha256 or (self.recall("md5", md5) if md5 else "") or ""
        with self._faults_named():
            if known and self.has(known):
                return self.path(known)
            with self._part(known or md5 or _key(url)) as part:
                if known and self.has(known):
                    return self.path(known)
                self._bring(url, part, _Promise(sha256 or "", md5 or ""))
                if md5:
                    self.remember("md5", md5, part.sha256)
                return self._keep(part)

    def metadata(self, url: str) -> Path:
        """Fetch an index file that changes under its URL; unchanged, it does not travel again.

        Raises:
            SourceError: it cannot be fetched; there is no falling back on what is here.
        """
        key = _key(url)
        kept: dict[str, str] = json.loads(self.recall("conditional", key) or "{}")
        if not kept or not self.has(kept["sha256"]):
            kept = {}
        conditions = {"If-None-Match": kept.get("etag"), "If-Modified-Since": kept.get("modified")}
        with self._faults_named(), self._part(key) as part:
            headers = {name: value for name, value in conditions.items() if value}
            answer = self._download(url, part, _Promise(), headers)
            if answer.status == 304:
                return self.path(kept["sha256"])
            told = {"etag": answer.etag, "modified": answer.modified, "sha256": part.sha256}
            self.remember("conditional", key, json.dumps(told))
            return self._keep(part)

    def head(self, url: str) -> tuple[int, str]:
        """What a source tells of a file without sending it.

        Returns:
            Its bytes, and the day of its `Last-Modified` as `YYYY-MM-DD`, empty if unknown.

        Raises:
            SourceError: the file is missing there, or its size is not told.
        """

        def ask() -> Answer:
            with self._transport.ask(url, method="HEAD") as told:
                return told

        answer = self._patiently(ask)
        if answer.total is None:
            raise SourceError(f"{url}: the source does not tell the file's size")
        return answer.total, _day(answer.modified)

    def recall(self, kind: str, key: str) -> str | None:
        """What was remembered, or None."""
        try:
            return self._memory(kind, key).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def remember(self, kind: str, key: str, value: str) -> None:
        """Keep a small fact; forgetting it costs time and nothing else."""
        with self._faults_named():
            write_file(self._memory(kind, key), value)

    def store(self, file: Path) -> Path:
        """Move a file that was made here into the cache."""
        with self._faults_named():
            place = self.path(sha256_of(file))
            place.parent.mkdir(parents=True, exist_ok=True)
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
            seal(file)
            return file.replace(place)

    def _memory(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def _part_path(self, key: str) -> Path:
        return self.root / "incoming" / f"{key}.part"

    @contextmanager
    def _part(self, key: str) -> Iterator[Part]:
        self.folder("incoming")
        with hold(self._part_path(key), lambda: self._pause(_LOCK_PAUSE)) as part:
            self._count(part.size)
            yield part

    def _keep(self, part: Part) -> Path:
        place = self.path(part.sha256)
        part.move(place)
        return place

    def _fetch_one(self, artifact: Artifact, alternatives: Alternatives) -> None:
        if artifact.url.startswith(BUILT):
            raise SourceError(f"{artifact.path}: was made here, but is gone from {self.root}")
        with self._part(artifact.sha256) as part:
            if self.has(artifact.sha256, artifact.size):
                # Another build on this cache was faster.
                self._count(artifact.size - part.size)
                part.clear()
                return
            promise = _Promise(artifact.sha256, size=artifact.size)
            try:
                self._bring(artifact.url, part, promise)
            except Missing:
                if not any(self._bring_if_there(u, part, promise) for u in alternatives(artifact)):
                    raise
            self._keep(part)

    def _bring_if_there(self, url: str, part: Part, promise: _Promise) -> bool:
        try:
            self._bring(url, part, promise)
        except Missing:
            return False
        return True

    def _bring(self, url: str, part: Part, promise: _Promise) -> None:
        """Fetch the file; what breaks the promise is fetched from its start, once."""
        if promise.size is not None and part.size > promise.size:
            self._discard(part)
        for _ in range(2):
            if not part.size or part.size != promise.size:
                self._download(url, part, promise)
            broken = promise.broken_by(part)
            if not broken:
                return
            self._discard(part)
        raise SourceError(f"{url}: {broken}", _CHANGED)

    def _download(
        self, url: str, part: Part, promise: _Promise, conditions: Mapping[str, str] | None = None
    ) -> Answer:
        """Fetch what `part` lacks, however often the source breaks off; return its last answer."""
        return self._patiently(
            lambda: self._continue(url, part, promise, conditions or {}), lambda: part.size
        )

    def _continue(
        self, url: str, part: Part, promise: _Promise, conditions: Mapping[str, str]
    ) -> Answer:
        checked = bool(promise.sha256 or promise.md5)
        headers = {"Range": f"bytes={part.size}-"} if part.size else conditions
        with self._transport.ask(url, headers) as answer:
            if answer.status == 304:
                return answer
            fits = answer.start == part.size and (checked or part.is_of(answer.version))
            if answer.status == 200:
                self._discard(part, "" if checked else answer.version)
            if answer.status == 200 or (answer.status == 206 and fits):
                self._read(url, answer, part, promise.size)
                return answer
        if not part.size:
            raise SourceError(f"{url}: HTTP {answer.status} to a request for the whole file")
        # The rest is of another version, or of another place: from the start, then.
        self._discard(part)
        return self._continue(url, part, promise, conditions)

    def _read(self, url: str, answer: Answer, part: Part, size: int | None) -> None:
        for chunk in answer.chunks:
            part.append(chunk)
            self._count(len(chunk), fetched=True)
            self._pause(0)
            if size is not None and part.size > size:
                return
        whole = size if answer.total is None else answer.total
        if whole is not None and part.size < whole:
            raise Interrupted(f"{url}: ended after {part.size} of {whole} bytes")

    def _discard(self, part: Part, version: str = "") -> None:
        self._count(-part.size)
        part.clear(version)

    def _patiently(
        self, act: Callable[[], _Result], came: Callable[[], int] = lambda: 0
    ) -> _Result:
        """Try until it works, or fails in a way that will not pass, or too often in a row.

        A try that brought a good piece of the file starts the count anew: see `came`.
        """
        failures = 0
        while True:
            before = came()
            try:
                return act()
            except Interrupted as fault:
                failures = 1 if came() - before >= CHUNK else failures + 1
                if failures > len(self._pauses):
                    raise
                self._pause(max(self._pauses[failures - 1], min(fault.wait, LONGEST_PAUSE)))

    def _pause(self, seconds: float) -> None:
        """Wait, but not when another file's fault has ended the run."""
        if self._stop.wait(seconds):
            raise SourceError("stopped, for another file cannot be had")

    def _count(self, new: int, *, fetched: bool = False) -> None:
        with self._counting:
            self._told += new
            self._fetched += new if fetched else 0
        self._tell(new, self._wanted)

    @contextmanager
    def _faults_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise LandbridgeError(f"{self.root}: {error}") from error
            lacking = max(self._wanted - self._told, 0)
            raise LandbridgeError(
                f"{self.root}: the disk is full; {lacking} more bytes are wanted",
                "free some space, then run this again: it goes on where it stopped",
            ) from error


def _key(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _day(modified: str) -> str:
    try:
        return parsedate_to_datetime(modified).date().isoformat() if modified else ""
    except ValueError:
        return ""


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()
