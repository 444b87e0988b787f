from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from landbridge.bundle.fetch import Cache
from landbridge.bundle.part import SEAL
from landbridge.errors import SourceError
from landbridge.lock import Artifact

DATA = b"content" * 1000


class Mirror(SimpleHTTPRequestHandler):
    """Serves a folder; what is called short.* ends before its announced length."""

    def log_message(self, *_args: object) -> None: ...

    def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
        data = source.read()
        outputfile.write(data[:-1] if "short" in self.path else data)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "mirror"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Mirror, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", pauses=(0, 0, 0))


def artifact(url: str, data: bytes = DATA) -> Artifact:
    digest = hashlib.sha256(data).hexdigest()
    return Artifact(
        ecosystem="rpm", name="x", version="1", path="x", url=url, sha256=digest, size=len(data)
    )


def nothing_left(cache: Cache) -> bool:
    return not list((cache.root / "incoming").iterdir())


def test_a_file_is_fetched_once_and_readable_by_all(mirror, cache: Cache) -> None:
    folder, url = mirror
    (folder / "a.tar.gz").write_bytes(DATA)
    wanted = artifact(f"{url}/a.tar.gz")
    cache.fetch([wanted])
    assert cache.path(wanted.sha256).read_bytes() == DATA
    assert cache.path(wanted.sha256).stat().st_mode & 0o777 == 0o644
    (folder / "a.tar.gz").unlink()
    cache.fetch([wanted])
    assert cache.fetched == len(DATA)


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_missing_file_is_named(mirror, cache: Cache, scheme: str) -> None:
    folder, url = mirror
    place = url if scheme == "http" else folder.as_uri()
    with pytest.raises(SourceError, match=f"{place}/gone: .*(404|No such file)"):
        cache.fetch([artifact(f"{place}/gone")])


def test_a_truncated_answer_is_refused(mirror, cache: Cache) -> None:
    folder, url = mirror
    (folder / "short.rpm").write_bytes(DATA)
    wanted = artifact(f"{url}/short.rpm")
    with pytest.raises(SourceError, match=r"short\.rpm: peer closed connection"):
        cache.fetch([wanted])
    assert not cache.path(wanted.sha256).exists()


@pytest.mark.parametrize(
    ("served", "said"),
    [(DATA[:-1], "got 6999 bytes, the index promises 7000"), (DATA[::-1], "got sha256")],
)
def test_another_file_than_promised_is_refused(
    mirror, cache: Cache, served: bytes, said: str
) -> None:
    folder, url = mirror
    (folder / "a").write_bytes(served)
    wanted = artifact(f"{url}/a")
    with pytest.raises(SourceError, match=said):
        cache.fetch([wanted])
    assert not cache.path(wanted.sha256).exists()
    assert nothing_left(cache)


def test_an_unreachable_host_is_named(cache: Cache) -> None:
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:1/a: .*refused"):
        cache.fetch([artifact("http://127.0.0.1:1/a")])


def test_a_cached_file_that_was_written_to_is_fetched_again(mirror, cache: Cache) -> None:
    """Bundles hold hard links to the cache, so an edit in a bundle reaches it."""
    folder, url = mirror
    (folder / "a").write_bytes(DATA)
    wanted = artifact(f"{url}/a")
    cache.fetch([wanted])
    cache.path(wanted.sha256).write_bytes(DATA[::-1])
    cache.fetch([wanted])
    assert cache.path(wanted.sha256).read_bytes() == DATA


def test_a_cached_file_that_was_only_touched_is_kept(mirror, cache: Cache) -> None:
    folder, url = mirror
    (folder / "a").write_bytes(DATA)
    wanted = artifact(f"{url}/a")
    cache.fetch([wanted])
    (folder / "a").unlink()
    os.utime(cache.path(wanted.sha256))
    cache.fetch([wanted])
    assert cache.path(wanted.sha256).stat().st_mtime == SEAL


def test_a_known_md5_is_checked_and_saves_the_next_fetch(mirror, cache: Cache) -> None:
    folder, url = mirror
    (folder / "a").write_bytes(DATA)
    md5 = hashlib.md5(DATA).hexdigest()  # noqa: S324 - CRAN's index has no other
    with pytest.raises(SourceError, match="promises 00"):
        cache.learn(f"{url}/a", "0" * 32)
    assert cache.learn(f"{url}/a", md5).read_bytes() == DATA
    (folder / "a").unlink()
    assert cache.learn(f"{url}/a", md5).name == hashlib.sha256(DATA).hexdigest()
