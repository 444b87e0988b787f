"""Sources break off, err and change; builds are killed: fetching gets through, or says why not."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from landbridge.bundle import fetch, transport
from landbridge.bundle.fetch import Cache
from landbridge.bundle.part import SEAL, Part, hold
from landbridge.errors import LandbridgeError, SourceError
from landbridge.lock import Artifact
from tests.unit import fault_server as faulty

DATA = os.urandom(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def source() -> Iterator[faulty.Source]:
    with faulty.source() as server:
        server.files["/a"] = DATA
        yield server


@pytest.fixture
def told() -> list[int]:
    return []


@pytest.fixture
def cache(tmp_path: Path, told: list[int]) -> Cache:
    return Cache(tmp_path / "cache", lambda new, _total: told.append(new), pauses=(0, 0, 0))


def artifact(source: faulty.Source, path: str = "/a", data: bytes = DATA) -> Artifact:
    return Artifact(
        ecosystem="rpm",
        name="x",
        version="1",
        path="x",
        url=source.url + path,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
    )


def left(cache: Cache) -> list[tuple[str, int]]:
    return sorted((p.name, p.stat().st_size) for p in (cache.root / "incoming").iterdir())


def is_whole(cache: Cache) -> bool:
    return cache.path(SHA256).read_bytes() == DATA and left(cache) == []


def test_a_source_that_truncates_three_times_is_continued(
    source: faulty.Source, cache: Cache, told: list[int]
) -> None:
    source.script["/a"] = [faulty.truncated(1000)] * 3
    cache.fetch([artifact(source)])
    assert is_whole(cache)
    assert source.spans("/a") == [None, "bytes=1000-", "bytes=2000-", "bytes=3000-"]
    assert cache.fetched == sum(told) == len(DATA)


def test_after_four_tries_the_part_waits_for_the_next_build(
    source: faulty.Source, cache: Cache, tmp_path: Path
) -> None:
    source.script["/a"] = [faulty.truncated(1000)] * 4
    with pytest.raises(SourceError, match=r"/a: peer closed connection"):
        cache.fetch([artifact(source)])
    assert left(cache) == [(f"{SHA256}.part", 4000)]
    told: list[int] = []
    later = Cache(tmp_path / "cache", lambda new, _total: told.append(new))
    later.fetch([artifact(source)])
    assert is_whole(later)
    assert source.spans("/a")[4:] == ["bytes=4000-"]
    assert later.fetched == len(DATA) - 4000
    assert sum(told) == len(DATA)


def test_tries_that_bring_much_are_not_counted(
    source: faulty.Source, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "CHUNK", 1000)
    source.script["/a"] = [faulty.truncated(1000)] * 9
    cache.fetch([artifact(source)])
    assert is_whole(cache)


@pytest.mark.parametrize(
    ("code", "tries", "mend"),
    [(500, 4, ""), (503, 4, ""), (404, 1, "URL"), (401, 1, "netrc"), (403, 1, "client_cert")],
)
def test_only_what_may_pass_is_tried_again(
    source: faulty.Source, cache: Cache, code: int, tries: int, mend: str
) -> None:
    source.script["/a"] = [faulty.status(code)] * 9
    with pytest.raises(SourceError, match=f"/a: HTTP {code}") as caught:
        cache.fetch([artifact(source)])
    assert mend in caught.value.mend
    assert len(source.gets("/a")) == tries
    assert left(cache) == []


def test_a_source_that_errs_for_a_while_is_waited_for(source: faulty.Source, cache: Cache) -> None:
    source.script["/a"] = [faulty.status(502), faulty.status(503), faulty.truncated(7)]
    cache.fetch([artifact(source)])
    assert is_whole(cache)


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("9999", 60.0), ("soon", 0.5)])
def test_retry_after_is_heeded_up_to_a_limit(
    source: faulty.Source,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    waited: float,
) -> None:
    cache = Cache(cache.root, pauses=(0.5,))
    pauses: list[float] = []
    monkeypatch.setattr(cache, "_pause", pauses.append)
    source.script["/a"] = [faulty.status(429, Retry_After=asked)]
    cache.fetch([artifact(source)])
    assert is_whole(cache)
    assert max(pauses) == waited


def test_a_source_without_ranges_starts_anew(
    source: faulty.Source, cache: Cache, told: list[int]
) -> None:
    source.ranges = False
    source.script["/a"] = [faulty.truncated(1000)]
    cache.fetch([artifact(source)])
    assert is_whole(cache)
    assert cache.fetched == len(DATA) + 1000
    assert sum(told) == len(DATA)


@pytest.mark.parametrize("answer", [faulty.misplaced, faulty.status(416)])
def test_a_rest_that_does_not_fit_is_not_taken(
    source: faulty.Source, cache: Cache, answer: faulty.Step
) -> None:
    source.script["/a"] = [faulty.truncated(1000), answer]
    cache.fetch([artifact(source)])
    assert is_whole(cache)
    assert source.spans("/a") == [None, "bytes=1000-", None]


def test_an_end_without_a_promised_length_is_no_end(source: faulty.Source, cache: Cache) -> None:
    source.script["/a"] = [faulty.endless(1000)]
    cache.fetch([artifact(source)])
    assert is_whole(cache)
    assert source.spans("/a") == [None, "bytes=1000-"]


@pytest.mark.parametrize("junk", [b"junk", b"x" * len(DATA), b"x" * (len(DATA) + 1)])
def test_a_damaged_part_is_thrown_away(source: faulty.Source, cache: Cache, junk: bytes) -> None:
    part = cache.folder("incoming") / f"{SHA256}.part"
    part.write_bytes(junk)
    cache.fetch([artifact(source)])
    assert is_whole(cache)


def test_a_whole_part_needs_no_request(source: faulty.Source, cache: Cache) -> None:
    (cache.folder("incoming") / f"{SHA256}.part").write_bytes(DATA)
    cache.fetch([artifact(source)])
    assert is_whole(cache)
    assert source.asked == []


def test_another_file_is_asked_for_once_more_and_then_refused(
    source: faulty.Source, cache: Cache
) -> None:
    source.script["/a"] = [faulty.instead(DATA[::-1])]
    cache.fetch([artifact(source)])
    assert is_whole(cache)
    other = artifact(source, "/b", b"promised")
    source.files["/b"] = b"deliverd"
    got = hashlib.sha256(b"deliverd").hexdigest()
    with pytest.raises(SourceError, match=f"/b: got sha256 {got}, .* promises {other.sha256}"):
        cache.fetch([other])
    assert source.spans("/b") == [None, None]
    assert left(cache) == []


def test_a_file_that_changes_under_way_is_not_mixed(source: faulty.Source, cache: Cache) -> None:
    """Without a hash to check, only the source's version tells that the rest is of another file."""

    def change(handler: faulty.Handler, content: bytes) -> None:
        faulty.truncated(1000)(handler, content)
        source.files["/a"] = DATA[::-1]

    source.script["/a"] = [change]
    assert cache.learn(f"{source.url}/a").read_bytes() == DATA[::-1]
    assert source.spans("/a") == [None, "bytes=1000-", None]


@pytest.mark.parametrize("versions", [True, False])
def test_an_unchanged_file_without_a_known_hash_is_continued_if_that_is_sure(
    source: faulty.Source, cache: Cache, versions: bool
) -> None:
    source.versions = versions
    source.script["/a"] = [faulty.truncated(1000)]
    assert cache.learn(f"{source.url}/a") == cache.path(SHA256)
    assert is_whole(cache)
    assert len(source.gets("/a")) == (2 if versions else 3)


def test_parts_of_unknown_hash_do_not_outlive_a_boot(source: faulty.Source, cache: Cache) -> None:
    """After a power cut their last blocks may be zeros, which nothing would find."""
    source.script["/a"] = [faulty.truncated(1000)] * 4
    with pytest.raises(SourceError):
        cache.learn(f"{source.url}/a")
    note = next((cache.root / "incoming").glob("*.version"))
    note.write_text("another-boot " + note.read_text().split()[1])
    cache.learn(f"{source.url}/a")
    assert source.spans("/a")[-2:] == ["bytes=4000-", None]
    assert is_whole(cache)


def test_a_slow_source_is_waited_for(source: faulty.Source, cache: Cache) -> None:
    source.script["/a"] = [faulty.dripping]
    cache.fetch([artifact(source)])
    assert is_whole(cache)
    assert len(source.gets("/a")) == 1


def test_a_silent_source_is_asked_again(
    source: faulty.Source, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TIMEOUT_SECONDS", 0.5)
    done = threading.Event()
    source.script["/a"] = [faulty.silent(1000, done)]
    cache.fetch([artifact(source)])
    done.set()
    assert is_whole(cache)
    assert source.spans("/a") == [None, "bytes=1000-"]


def test_a_file_that_moved_is_found_elsewhere(source: faulty.Source, cache: Cache) -> None:
    moved = artifact(source, "/gone")
    cache.fetch([moved], lambda one: [f"{one.url}/too", f"{source.url}/a"])
    assert is_whole(cache)
    with pytest.raises(SourceError, match=r"/gone2: HTTP 404"):
        cache.fetch([artifact(source, "/gone2", b"b")], lambda one: [f"{one.url}/too"])


def test_an_ailing_source_is_no_reason_to_look_elsewhere(
    source: faulty.Source, cache: Cache
) -> None:
    source.script["/b"] = [faulty.status(500)] * 4
    with pytest.raises(SourceError, match="HTTP 500"):
        cache.fetch([artifact(source, "/b")], lambda _one: [f"{source.url}/a"])
    assert source.gets("/a") == []


def test_a_fault_stops_the_other_files(source: faulty.Source, cache: Cache) -> None:
    never = threading.Event()

    def forever(handler: faulty.Handler, content: bytes) -> None:
        handler.announce(content)
        for at in range(len(content)):
            handler.wfile.write(content[at : at + 1])
            handler.wfile.flush()
            never.wait(0.01)

    source.script["/a"] = [forever]
    with pytest.raises(SourceError, match=r"/gone: HTTP 404"):
        cache.fetch([artifact(source), artifact(source, "/gone", b"gone")])
    assert not cache.path(SHA256).exists()


def test_two_builds_at_once_fetch_each_file_once(source: faulty.Source, tmp_path: Path) -> None:
    both = [Cache(tmp_path / "cache", pauses=()) for _ in range(2)]
    go_on, begun = threading.Event(), threading.Event()

    def pause(handler: faulty.Handler, content: bytes) -> None:
        begun.set()
        faulty.silent(1000, go_on)(handler, content)

    source.script["/a"] = [pause]
    first = threading.Thread(target=both[0].fetch, args=([artifact(source)],))
    first.start()
    assert begun.wait(30)
    second = threading.Thread(target=both[1].fetch, args=([artifact(source)],))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    go_on.set()
    first.join(30)
    second.join(30)
    assert is_whole(both[1])
    assert len(source.gets("/a")) == 1
    assert both[1].fetched == 0


def test_a_part_that_is_moved_just_before_it_is_locked_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another build put the file in its place: writing on would damage the cache."""
    path, place = tmp_path / "x.part", tmp_path / "place"
    path.write_bytes(DATA)

    def moved_first(file: FileIO, how: int) -> None:
        if not place.exists():
            path.rename(place)
        flock(file, how)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", moved_first)
    with hold(path, lambda: None) as part:
        part.clear()
        part.append(b"new")
    assert place.read_bytes() == DATA
    assert path.read_bytes() == b"new"


CHILD = """
import sys
from pathlib import Path
from landbridge.bundle.fetch import Cache
from landbridge.lock import Artifact
root, url, sha256, size = sys.argv[1:]
wanted = Artifact(ecosystem="rpm", name="x", version="1", path="x", url=url, sha256=sha256,
                  size=int(size))
Cache(Path(root)).fetch([wanted])
"""


def test_a_killed_build_is_continued(source: faulty.Source, cache: Cache) -> None:
    """kill -9 leaves its lock to the kernel, and every byte that came to the next build."""
    never = threading.Event()
    source.script["/a"] = [faulty.silent(200_000, never)]
    command = [sys.executable, "-c", CHILD, cache.root, f"{source.url}/a", SHA256, str(len(DATA))]
    with subprocess.Popen(command) as child:
        part = cache.root / "incoming" / f"{SHA256}.part"
        while child.poll() is None and not (part.exists() and part.stat().st_size == 200_000):
            time.sleep(0.01)
        child.kill()
    never.set()
    cache.fetch([artifact(source)])
    assert is_whole(cache)
    assert source.spans("/a") == [None, "bytes=200000-"]
    assert cache.fetched == 100_000


FULL_DISK = """
mount -t tmpfs -o size=200k none "$1" && exec "$2" -c '
import sys
from pathlib import Path
from landbridge.bundle.fetch import Cache
from landbridge.errors import LandbridgeError
root = Path(sys.argv[1]) / "cache"
try:
    Cache(root).learn(sys.argv[2])
except LandbridgeError as error:
    print(error, *(f.stat().st_size for f in (root / "incoming").glob("*.part")))
' "$1" "$3"
"""


def test_a_full_disk_is_named_and_the_part_stays(source: faulty.Source, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    unshare = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no mount namespace")
    small = ["sh", "-c", FULL_DISK, "sh", tmp_path / "small", sys.executable, f"{source.url}/a"]
    said = subprocess.run([*unshare, *small], capture_output=True, text=True, check=True).stdout
    assert f"{tmp_path}/small/cache: the disk is full" in said
    assert 0 < int(said.split()[-1]) < len(DATA)


def test_a_full_disk_tells_how_much_is_wanted(
    source: faulty.Source, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: Part, chunk: bytes) -> None:
        if part.size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(part, chunk[:1000])

    append = Part.append
    monkeypatch.setattr(Part, "append", full)
    with pytest.raises(LandbridgeError, match=r"cache: the disk is full; \d+ more bytes"):
        cache.fetch([artifact(source)])
    assert left(cache) == [(f"{SHA256}.part", 1000)]


def test_too_little_space_is_found_before_anything_is_fetched(
    source: faulty.Source, cache: Cache
) -> None:
    huge = artifact(source).model_copy(update={"size": 1 << 60})
    with pytest.raises(LandbridgeError, match=f"fetching 1 files needs {1 << 60} bytes"):
        cache.fetch([huge])
    assert source.asked == []


def test_a_sealed_file_of_the_promised_size_is_not_read(cache: Cache) -> None:
    path = cache.path(SHA256)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not read")
    os.utime(path, (SEAL, SEAL))
    assert cache.has(SHA256)
    assert cache.has(SHA256, 8)
    assert not cache.has(SHA256, 9)
    assert not path.exists()


def test_what_is_missing_is_listed_once_and_in_order(source: faulty.Source, cache: Cache) -> None:
    one, two, three = (artifact(source, "/a", data) for data in (DATA, b"2", b"3"))
    cache.fetch([one])
    assert cache.missing([three, one, two, three]) == [three, two]


def test_metadata_travels_only_when_it_changed(source: faulty.Source, cache: Cache) -> None:
    url = f"{source.url}/a"
    assert cache.metadata(url).read_bytes() == DATA
    assert Cache(cache.root).metadata(url).read_bytes() == DATA
    assert cache.fetched == len(DATA)
    source.files["/a"] = b"new"
    assert cache.metadata(url).read_bytes() == b"new"
    assert [one.headers.get("if-none-match") is None for one in source.gets("/a")] == [
        True,
        False,
        False,
    ]


def test_metadata_that_was_damaged_here_is_fetched_again(
    source: faulty.Source, cache: Cache
) -> None:
    url = f"{source.url}/a"
    cache.metadata(url).write_bytes(b"edited")
    assert cache.metadata(url).read_bytes() == DATA


def test_metadata_offline_is_an_error(source: faulty.Source, cache: Cache) -> None:
    cache.metadata(f"{source.url}/a")
    source.script["/a"] = [faulty.status(503)] * 4
    with pytest.raises(SourceError, match=r"/a: HTTP 503"):
        cache.metadata(f"{source.url}/a")


def test_metadata_of_a_folder_is_read_when_it_changed(cache: Cache, tmp_path: Path) -> None:
    file = tmp_path / "index"
    file.write_bytes(b"one")
    assert cache.metadata(file.as_uri()).read_bytes() == b"one"
    assert cache.metadata(file.as_uri()).read_bytes() == b"one"
    assert cache.fetched == 3
    file.write_bytes(b"other")
    assert cache.metadata(file.as_uri()).read_bytes() == b"other"


def test_size_and_day_are_told_without_the_file(
    source: faulty.Source, cache: Cache, tmp_path: Path
) -> None:
    assert cache.head(f"{source.url}/a") == (len(DATA), "2023-11-14")
    source.versions = False
    assert cache.head(f"{source.url}/a") == (len(DATA), "")
    assert source.gets("/a") == []
    file = tmp_path / "file"
    file.write_bytes(b"four")
    os.utime(file, (faulty.DAY, faulty.DAY))
    assert cache.head(file.as_uri()) == (4, "2023-11-14")


def test_a_source_that_tells_no_size_is_named(source: faulty.Source, cache: Cache) -> None:
    source.script["/a"] = [faulty.endless(0)]
    with pytest.raises(SourceError, match=r"/a: .* does not tell the file's size"):
        cache.head(f"{source.url}/a")


def test_the_cache_can_be_on_a_disk_that_cannot_be_written(source: faulty.Source) -> None:
    with pytest.raises(LandbridgeError, match=r"^/proc/landbridge: "):
        Cache(Path("/proc/landbridge")).learn(f"{source.url}/a")
