"""The cache: every file once, named by its sha256, fetched in parallel and hashed on the way."""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Lock
from urllib.parse import unquote, urlsplit

import httpx

from landbridge.access import Access
from landbridge.errors import SourceError
from landbridge.files import CHUNK, need_space, sha256_of, write_file
from landbridge.lock import Artifact

WORKERS = 8
TIMEOUT_SECONDS = 60.0
BUILT = "built:"
# Cached files carry this time. A file with another one was written to since (bundles hold
# hard links to the cache), so its content is read again before it is trusted.
SEAL = 315532800  # 1980-01-01, the oldest that zip files can name


# Takes bytes that came since it was last called, and bytes that are wanted in all.
Tell = Callable[[int, int], None]


class Cache:
    """A content-addressed folder of files.

    Args:
        root: the folder; made when it is missing.
        tell: is told of every piece while files are fetched; called by several threads.
        access: how the sources are reached.
    """

    def __init__(
        self,
        root: Path,
        tell: Tell = lambda _new, _total: None,
        access: Access | None = None,
    ) -> None:
        self.root = root.absolute()
        self._access = access or Access()
        self._tell = tell
        self._wanted = 0
        self._counting = Lock()
        self._fetched = 0
        # The operating system's certificates, not certifi's: a site's own CA is among them.
        self._client = httpx.Client(
            verify=ssl.create_default_context(),
            timeout=TIMEOUT_SECONDS,
            follow_redirects=True,
            # A .tar.gz must come as it is stored, not unpacked or packed once more on the way.
            headers={"Accept-Encoding": "identity"},
        )

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
        except FileNotFoundError:
            return False
        if state.st_mtime == SEAL and size in (None, state.st_size):
            return True
        if sha256_of(path) == sha256:
            os.utime(path, (SEAL, SEAL))
            return size in (None, state.st_size)
        path.unlink(missing_ok=True)
        return False

    def missing(self, artifacts: Iterable[Artifact]) -> list[Artifact]:
        """Those whose files are not here yet, one for each file, in the order given."""
        wanted = list({artifact.sha256: artifact for artifact in artifacts}.values())
        with ThreadPoolExecutor(WORKERS) as pool:
            here = list(pool.map(lambda artifact: self.has(artifact.sha256, artifact.size), wanted))
        return [artifact for artifact, hit in zip(wanted, here, strict=True) if not hit]

    def fetch(self, artifacts: Iterable[Artifact]) -> None:
        """Fetch what is not here yet, in parallel.

        Raises:
            SourceError: a file is missing at its source, or is not what the lock promises.
            LandbridgeError: not enough space; nothing is fetched then.
        """
        missing = self.missing(artifacts)
        with ThreadPoolExecutor(WORKERS) as pool:
            total = sum(artifact.size for artifact in missing)
            need_space(self.root, total, f"fetching {len(missing)} files")
            self._wanted = self._fetched + total
            try:
                list(pool.map(self._fetch_one, missing))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def learn(self, url: str, md5: str | None = None, sha256: str | None = None) -> Path:
        """Fetch a file of which an index does not tell all; a known hash saves the next fetch.

        Returns:
            The file in the cache, named by its sha256.

        Raises:
            SourceError: it cannot be fetched, or is not what the hashes promise.
        """
        memory = self.root / "md5" / md5[:2] / md5 if md5 else None
        known = sha256 or (memory.read_text() if memory and memory.exists() else "")
        if known and self.has(known):
            return self.path(known)
        temporary, found = self._download(url)
        for promised, got in ((sha256, found), (md5, _md5_of(temporary) if md5 else None)):
            if promised and promised != got:
                temporary.unlink()
                raise SourceError(f"{url}: got hash {got}, the index promises {promised}", _CHANGED)
        if memory:
            write_file(memory, found)
        return self._keep(temporary, found)

    def metadata(self, url: str) -> Path:
        """Fetch an index file that changes under its URL."""
        return self.learn(url)

    def head(self, url: str) -> tuple[int, str]:
        """What a source tells of a file without sending it.

        Returns:
            Its bytes, and the day of its `Last-Modified` as `YYYY-MM-DD`, empty if unknown.

        Raises:
            SourceError: the file is missing there, or its size is not told.
        """
        try:
            if url.startswith("file:"):
                state = Path(unquote(urlsplit(url).path)).stat()
                return state.st_size, datetime.fromtimestamp(state.st_mtime, UTC).date().isoformat()
            response = self._client.head(url)
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            raise SourceError(f"{url}: HTTP {error.response.status_code}", _UNREACHABLE) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise SourceError(f"{url}: {error or type(error).__name__}", _UNREACHABLE) from error
        modified = response.headers.get("Last-Modified")
        day = parsedate_to_datetime(modified).date().isoformat() if modified else ""
        return int(response.headers["Content-Length"]), day

    def recall(self, kind: str, key: str) -> str | None:
        """What was remembered, or None."""
        try:
            return self._memory(kind, key).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def remember(self, kind: str, key: str, value: str) -> None:
        """Keep a small fact; forgetting it costs time and nothing else."""
        write_file(self._memory(kind, key), value)

    def _memory(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def store(self, file: Path) -> Path:
        """Move a file that was made here into the cache."""
        return self._keep(file, sha256_of(file))

    def _fetch_one(self, artifact: Artifact) -> None:
        if artifact.url.startswith(BUILT):
            raise SourceError(f"{artifact.path}: was made here, but is gone from {self.root}")
        temporary, sha256 = self._download(artifact.url)
        size = temporary.stat().st_size
        if (sha256, size) == (artifact.sha256, artifact.size):
            self._keep(temporary, sha256)
            return
        temporary.unlink()
        got = f"sha256 {sha256}" if size == artifact.size else f"{size} bytes"
        promised = artifact.sha256 if size == artifact.size else artifact.size
        raise SourceError(f"{artifact.url}: got {got}, the index promises {promised}", _CHANGED)

    def _download(self, url: str) -> tuple[Path, str]:
        """Stream to a temporary file beside its final place; return it with its sha256."""
        incoming = self.folder("incoming")
        digest = hashlib.sha256()
        handle, name = tempfile.mkstemp(dir=incoming)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in self._chunks(url):
                    digest.update(chunk)
                    file.write(chunk)
                    self._tell(len(chunk), self._wanted)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            Path(name).unlink()
            raise
        with self._counting:
            self._fetched += Path(name).stat().st_size
        return Path(name), digest.hexdigest()

    def _chunks(self, url: str) -> Iterable[bytes]:
        try:
            if url.startswith("file:"):
                with Path(unquote(urlsplit(url).path)).open("rb") as file:
                    while chunk := file.read(CHUNK):
                        yield chunk
                return
            with self._client.stream("GET", url) as response:
                response.raise_for_status()
                yield from response.iter_raw(CHUNK)
        except httpx.HTTPStatusError as error:
            raise SourceError(f"{url}: HTTP {error.response.status_code}", _UNREACHABLE) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise SourceError(f"{url}: {error or type(error).__name__}", _UNREACHABLE) from error

    def _keep(self, temporary: Path, sha256: str) -> Path:
        path = self.path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o644)
        os.utime(temporary, (SEAL, SEAL))
        temporary.replace(path)
        return path


_UNREACHABLE = "check the URL in the sources file and the mirror behind it, then build again"
_CHANGED = "the mirror is being changed or is damaged: sync it, then build again"


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()
