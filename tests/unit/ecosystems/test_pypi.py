from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from landbridge.access import Access
from landbridge.bundle.fetch import Cache
from landbridge.ecosystems import _pip, pypi
from landbridge.errors import InputError
from landbridge.files import link
from landbridge.lock import Kept, Lock, Part, merge
from landbridge.stack import Stack
from tests.lab.serve import static
from tests.unit.small_upstreams import tool, wheel

# A build backend (PEP 517): one module, whose metadata is the source's own.
BACKEND = """\
import os, tarfile, tinyhelper, zipfile

def build_wheel(folder, config=None, metadata=None):
    name, version = open("NAME").read().split()
    file = f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    head = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\nRequires-Dist: low\\n"
    tags = "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    with zipfile.ZipFile(os.path.join(folder, file), "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", head)
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")
    return file
"""
PYPROJECT = '[build-system]\nrequires = ["tinybackend"]\nbuild-backend = "tinybackend"\n'


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip looks into, and nowhere else."""
    folder = tmp_path / "wheels"
    wheel(folder, "app", "1.0", "low>=1", "backport; python_version < '3.12'")
    wheel(folder, "other", "1.0", "low")
    wheel(folder, "low", "1.0")
    wheel(folder, "backport", "0.5")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def stack(*packages: str, python: tuple[str, ...] = ("3.11",), sdists: tuple[str, ...] = ()):
    wanted: dict[str, Any] = {"packages": list(packages), "python": list(python)}
    wanted["allow_sdists"] = list(sdists)
    return Stack.model_validate({"name": "s", "targets": ["el9-x86_64"], "pypi": wanted})


def lock_of(part: Part, wanted: Stack) -> Lock:
    remembered = wanted.model_dump(mode="json", exclude={"name", "sources"})
    return merge("s", wanted.targets, [part], remembered)


def versions(part: Part) -> dict[str, str]:
    return {artifact.name: artifact.version for artifact in part.artifacts}


def describe(file: Path, old: str, new: str) -> None:
    """Replace text in a wheel's METADATA."""
    with zipfile.ZipFile(file) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in texts.items():
            changed = text.replace(old, new) if name.endswith("METADATA") else text
            archive.writestr(name, changed)


def sdist(folder: Path, name: str, version: str, pyproject: str = PYPROJECT) -> None:
    files = {"NAME": f"{name} {version}", "PKG-INFO": "", "pyproject.toml": pyproject}
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as tar:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{file}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))


def backend(folder: Path) -> None:
    made = wheel(folder, "tinybackend", "1.0", "tinyhelper>=1")
    wheel(folder, "tinyhelper", "1.0")
    with zipfile.ZipFile(made) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in (texts | {"tinybackend.py": BACKEND}).items():
            archive.writestr(name, text)


def bundle(part: Part, wanted: Stack, cache: Cache, root: Path) -> Path:
    """The bundle's part with its files, fetched from their sources."""
    lock = lock_of(part, wanted)
    cache.fetch(lock.artifacts)
    for artifact in lock.artifacts:
        link(cache.path(artifact.sha256), root / artifact.path)
    pypi.index(root, lock, cache)
    return root


@pytest.mark.usefixtures("index")
def test_the_same_inputs_give_the_same_part(cache: Cache, tmp_path: Path) -> None:
    wanted = stack("app", "other", python=("3.11", "3.12"))
    first = pypi.resolve(wanted, cache)
    assert pypi.resolve(wanted, Cache(tmp_path / "two")) == first
    assert lock_of(first, wanted).dump() == lock_of(first, wanted).dump()
    (backport,) = (a for a in first.artifacts if a.name == "backport")
    assert backport.targets == ["3.11"]
    assert backport.required_by == ["app"]


def test_size_and_day_come_without_the_file(
    index: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = wheel(index, "single", "2.0")
    os.utime(file, (1700000000, 1700000000))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    simple = index.parent / "simple/single"
    simple.mkdir(parents=True)
    with static({"files": index}) as url:
        href = f"{url}/files/{file.name}#sha256={digest}"
        (simple / "index.html").write_text(f'<a href="{href}">{file.name}</a>')
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", simple.parent.as_uri())
        (artifact,) = pypi.resolve(stack("single"), cache).artifacts
    assert (artifact.sha256, artifact.size) == (digest, file.stat().st_size)
    assert artifact.released == "2023-11-14"
    assert artifact.url == href.partition("#")[0]
    assert not cache.has(digest)


def test_size_and_day_are_those_of_the_index_where_it_tells_them(
    index: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = wheel(index, "single", "2.0")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with served(JsonIndex, index) as address:
        url = f"http://{address}"
        entry = {
            "filename": file.name,
            "url": f"{url}/{file.name}",
            "hashes": {"sha256": digest},
            "size": file.stat().st_size,
            "upload-time": "2021-02-03T04:05:06.789Z",
        }
        page = {"meta": {"api-version": "1.1"}, "name": "single", "files": [entry]}
        (index / "single").mkdir()
        (index / "single/index.html").write_text(json.dumps(page))
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", url)
        (artifact,) = pypi.resolve(stack("single"), cache).artifacts
    assert (artifact.sha256, artifact.size) == (digest, file.stat().st_size)
    assert artifact.released == "2021-02-03"


@pytest.mark.parametrize(
    ("lines", "license"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: x", "MIT OR Apache-2.0"),
        ("License: BSD-3-Clause", "BSD-3-Clause"),
        (
            "License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n"
            "Classifier: Topic :: Utilities",
            "MIT License",
        ),
        (f"License: {'All rights. ' * 20}", ""),
    ],
)
def test_the_licence_is_as_the_metadata_says(
    index: Path, cache: Cache, lines: str, license: str
) -> None:
    describe(wheel(index, "single", "1.0"), "Version: 1.0\n", f"Version: 1.0\n{lines}\n")
    (artifact,) = pypi.resolve(stack("single"), cache).artifacts
    assert artifact.license == license


class Guarded(SimpleHTTPRequestHandler):
    """Files for those who know the password."""

    def send_head(self) -> Any:
        word = base64.b64encode(b"reader:se cret").decode()
        if self.headers.get("Authorization") != f"Basic {word}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        return super().send_head()

    def log_message(self, *_: object) -> None:
        pass


class JsonIndex(SimpleHTTPRequestHandler):
    """A simple index that answers in JSON (PEP 691)."""

    def guess_type(self, path: Any) -> str:
        kind = "application/vnd.pypi.simple.v1+json"
        return kind if str(path).endswith(".html") else super().guess_type(path)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(handler: type[SimpleHTTPRequestHandler], folder: Path) -> Iterator[str]:
    """Serve a folder; yields host:port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_pips_credentials_are_used_and_not_locked(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simple = tmp_path / "simple/app"
    simple.mkdir(parents=True)
    file = wheel(simple, "app", "3.0")
    (simple / "index.html").write_text(f'<a href="{file.name}">{file.name}</a>')
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert index.exists()
    with served(Guarded, tmp_path) as address:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://reader:se%20cret@{address}/simple")
        cache = Cache(tmp_path / "cache", access=Access())
        wanted = stack("app")
        part = pypi.resolve(wanted, cache)
    text = lock_of(part, wanted).dump()
    assert f"url: http://{address}/simple/app/app-3.0" in text
    assert "cret" not in text
    assert part.artifacts[0].sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_what_is_locked_stays_and_what_is_updated_moves(index: Path, cache: Cache) -> None:
    wanted = stack("app", "other", python=("3.11", "3.12"))
    first = pypi.resolve(wanted, cache)
    lock = lock_of(first, wanted)
    for name in ("app", "other", "low"):
        wheel(index, name, "2.0")
    same = pypi.resolve(wanted, cache, Kept(lock, frozenset()))
    assert lock_of(same, wanted) == lock
    elsewhere = pypi.resolve(wanted, cache, Kept(lock, frozenset({"numpy"})))
    assert lock_of(elsewhere, wanted) == lock
    moved = pypi.resolve(wanted, cache, Kept(lock, frozenset({"other"})))
    assert versions(moved) == {"app": "1.0", "other": "2.0", "low": "1.0", "backport": "0.5"}
    assert [a for a in lock_of(moved, wanted).artifacts if a.name == "app"] == [
        a for a in lock.artifacts if a.name == "app"
    ]


def test_a_new_wish_leaves_the_others_where_they_are(index: Path, cache: Cache) -> None:
    lock = lock_of(pypi.resolve(stack("app"), cache), stack("app"))
    wheel(index, "app", "2.0")
    wheel(index, "low", "2.0")
    found = pypi.resolve(stack("app", "other"), cache, Kept(lock, frozenset()))
    assert versions(found) == {"app": "1.0", "other": "1.0", "low": "1.0", "backport": "0.5"}


def test_an_update_takes_along_what_it_must(index: Path, cache: Cache) -> None:
    wanted = stack("app", "other")
    lock = lock_of(pypi.resolve(wanted, cache), wanted)
    wheel(index, "app", "2.0", "low>=2")
    wheel(index, "low", "2.0")
    wheel(index, "other", "2.0")
    moved = pypi.resolve(wanted, cache, Kept(lock, frozenset({"app"})))
    assert versions(moved) == {"app": "2.0", "low": "2.0", "other": "1.0"}


def test_an_update_of_a_library_moves_who_held_it_back(index: Path, cache: Cache) -> None:
    wheel(index, "holder", "1.0", "low<2")
    wanted = stack("holder", "other")
    lock = lock_of(pypi.resolve(wanted, cache), wanted)
    wheel(index, "holder", "2.0", "low")
    wheel(index, "low", "2.0")
    moved = pypi.resolve(wanted, cache, Kept(lock, frozenset({"low"})))
    assert versions(moved)["low"] == "2.0"
    assert versions(moved)["holder"] == "2.0"


def test_a_changed_wish_moves_only_what_contradicts_it(index: Path, cache: Cache) -> None:
    lock = lock_of(pypi.resolve(stack("app", "other"), cache), stack("app", "other"))
    wheel(index, "app", "2.0", "low")
    wheel(index, "other", "2.0")
    found = pypi.resolve(stack("app>=2", "other"), cache, Kept(lock, frozenset()))
    assert versions(found) == {"app": "2.0", "low": "1.0", "other": "1.0"}


def test_a_version_that_is_gone_gives_way(index: Path, cache: Cache) -> None:
    lock = lock_of(pypi.resolve(stack("app"), cache), stack("app"))
    (index / "low-1.0-py3-none-any.whl").unlink()
    wheel(index, "low", "2.0")
    wheel(index, "app", "2.0", "low")
    found = pypi.resolve(stack("app", "other"), cache, Kept(lock, frozenset()))
    assert versions(found)["low"] == "2.0"


def test_a_source_is_taken_by_name_alone(index: Path, cache: Cache) -> None:
    backend(index)
    sdist(index, "srconly", "1.0")
    with pytest.raises(InputError, match="srconly"):
        pypi.resolve(stack("srconly"), cache)
    with pytest.raises(InputError, match="srconly"):
        pypi.resolve(stack("srconly", sdists=("other",)), cache)
    found = pypi.resolve(stack("srconly", sdists=("SrcOnly",)), cache)
    assert pypi.resolve(stack("srconly", sdists=("SrcOnly",)), cache) == found
    assert {a.name: (a.file, a.build, a.required_by) for a in found.artifacts} == {
        "srconly": ("srconly-1.0.tar.gz", "", []),
        "low": ("low-1.0-py3-none-any.whl", "", ["srconly"]),
        "tinybackend": ("tinybackend-1.0-py3-none-any.whl", "build", ["srconly"]),
        "tinyhelper": ("tinyhelper-1.0-py3-none-any.whl", "build", ["tinybackend"]),
    }


def test_old_setuptools_bring_wheel_along(index: Path) -> None:
    wheel(index, "setuptools", "69.0")
    wheel(index, "wheel", "0.45")
    platform = pypi.lowest(["el9-x86_64"])
    assert {i.name for i in pypi._with_wheel(["setuptools"], "3.11", platform, {})} == {
        "setuptools",
        "wheel",
    }
    wheel(index, "setuptools", "71.0")
    assert [i.name for i in pypi._with_wheel(["setuptools"], "3.11", platform, {})] == [
        "setuptools"
    ]


@pytest.mark.parametrize("pyproject", ["", "[tool.x]\n"])
def test_a_source_without_a_build_system_wants_setuptools(
    index: Path, cache: Cache, pyproject: str
) -> None:
    backend(index)
    sdist(index, "srconly", "1.0")
    (artifact, *_) = pypi.resolve(stack("srconly", sdists=("srconly",)), cache).artifacts
    sdist(index, "srconly", "1.0", pyproject)
    file = index / "srconly-1.0.tar.gz"
    assert pypi._build_requires(file, artifact) == ["setuptools"]


def test_a_kept_source_keeps_its_builders(index: Path, cache: Cache) -> None:
    backend(index)
    sdist(index, "srconly", "1.0")
    wanted = stack("srconly", sdists=("srconly",))
    lock = lock_of(pypi.resolve(wanted, cache), wanted)
    wheel(index, "tinyhelper", "2.0")
    more = stack("srconly", "other", sdists=("srconly",))
    found = pypi.resolve(more, cache, Kept(lock, frozenset()))
    assert versions(found)["tinyhelper"] == "1.0"


def test_pip_and_uv_take_every_hash_without_a_network(
    index: Path, cache: Cache, tmp_path: Path
) -> None:
    backend(index)
    sdist(index, "srconly", "1.0")
    wanted = stack("app", "srconly", sdists=("srconly",))
    root = bundle(pypi.resolve(wanted, cache), wanted, cache, tmp_path / "bundle")
    listed = root / "pypi/requirements-3.11.txt"
    names = [line.split("==")[0] for line in listed.read_text().splitlines()]
    assert names == ["app", "backport", "low", "srconly", "tinybackend", "tinyhelper"]
    url = (root / "pypi/simple").as_uri()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
    environment |= {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1"}
    common = ["--require-hashes", "-r", listed, "--index-url", url]
    pip = [sys.executable, "-m", "pip", "download", "--no-cache-dir", "-d", tmp_path / "got"]
    tool("unshare", "-n", *pip, *common, env=environment)
    assert len(list((tmp_path / "got").iterdir())) == len(names)
    uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--no-cache"]
    target = ["--python", sys.executable, "--target", tmp_path / "installed"]
    tool("unshare", "-n", *uv, *target, *common, env=environment)
    assert (tmp_path / "installed/srconly.py").exists()


@pytest.mark.usefixtures("index")
def test_a_changed_file_is_refused_by_its_hash(cache: Cache, tmp_path: Path) -> None:
    wanted = stack("app")
    root = bundle(pypi.resolve(wanted, cache), wanted, cache, tmp_path / "bundle")
    changed = next((root / "pypi/simple/low").glob("*.whl"))
    page = changed.with_name("index.html")
    page.write_text(page.read_text().partition("#")[0] + f'">{changed.name}</a>')
    data = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(data + b"x")
    options = ["--require-hashes", "-r", root / "pypi/requirements-3.11.txt"]
    options += ["--index-url", (root / "pypi/simple").as_uri(), "-d", tmp_path / "got"]
    environment = {**os.environ, "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": ""}
    pip = [sys.executable, "-m", "pip", "download", "--no-cache-dir"]
    with pytest.raises(AssertionError, match="DO NOT MATCH THE HASHES"):
        tool(*pip, *options, env=environment)


def test_the_one_to_install_is_listed_where_two_are_carried(cache: Cache, index: Path) -> None:
    (low,) = pypi.resolve(stack("low"), cache).artifacts
    other = {"version": "2.0", "build": "build", "path": "pypi/simple/low/low-2.0.whl"}
    builder = low.model_copy(update=other)
    assert index.exists()
    for order in ([low, builder], [builder, low]):
        assert pypi.requirements(order, "3.11").startswith("low==1.0 ")
    assert pypi.requirements([builder], "3.11").startswith("low==2.0 ")
    assert pypi.requirements([builder], "3.12") == ""


def test_urls_lose_credentials_and_fragment() -> None:
    url = "https://me:pw@host.example:8443/a%2Bb/x-1.whl?token=1#sha256=1"
    assert _pip._without_credentials(url) == "https://host.example:8443/a%2Bb/x-1.whl?token=1"
