from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from landbridge.access import Access
from landbridge.bundle.fetch import Cache
from landbridge.ecosystems import oci
from landbridge.errors import SourceError
from landbridge.lock import Artifact, Kept, Part, merge
from landbridge.stack import Access as Entry
from landbridge.stack import Stack
from tests.unit.small_upstreams import tool

USER, PASSWORD = "reader", "se:cret"
# bcrypt of PASSWORD, the only kind that the registry reads.
HTPASSWD = "reader:$2b$04$wMlkpLveh9NnqAgenOB59OzjEoJzeAhh5lQjzCK0XVjLU6ynsl5uy"
OCI = "application/vnd.oci.image."


def put(layout: Path, data: bytes, kind: str) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"mediaType": f"{OCI}{kind}", "digest": f"sha256:{digest}", "size": len(data)}


def layer(text: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


def image(layout: Path, text: str) -> Path:
    """An OCI layout with one image, whose one layer holds `text`."""
    data = layer(text)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-02-03T04:05:06Z",
        "config": {"Labels": {"org.opencontainers.image.licenses": "MIT"}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}manifest.v1+json",
        "config": put(layout, json.dumps(config).encode(), "config.v1+json"),
        "layers": [put(layout, data, "layer.v1.tar")],
    }
    entry = put(layout, json.dumps(manifest).encode(), "manifest.v1+json")
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return layout


@contextmanager
def registry(data: Path, **settings: Any) -> Iterator[str]:
    """A registry over `data` on loopback; yields host:port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(data)}},
        "http": {"addr": address, **settings.pop("http", {})},
        "log": {"level": "error"},
        **settings,
    }
    file = data.parent / "config.yml"
    file.write_text(json.dumps(config))
    nothing = subprocess.DEVNULL
    command = ["docker-registry", "serve", str(file)]
    server = subprocess.Popen(command, stdout=nothing, stderr=nothing)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", int(address.split(":")[1]))):
                    break
            time.sleep(0.05)
        yield address
    finally:
        server.terminate()
        server.wait()


def push(layout: Path, address: str, name: str, *options: str) -> None:
    copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", *options]
    tool(*copy, f"oci:{layout}", f"docker://{address}/{name}")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a registry holds: two images, one of them in Docker's own format."""
    root = tmp_path_factory.mktemp("registry")
    (root / "data").mkdir()
    with registry(root / "data") as address:
        push(image(root / "one", "one"), address, "tools/one:1", "--preserve-digests")
        push(image(root / "two", "two"), address, "tools/two:1", "--format", "v2s2")
    return root / "data"


@pytest.fixture(scope="module")
def plain(data: Path) -> Iterator[str]:
    with registry(data) as address:
        yield address


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def stack(address: str, *names: str, insecure: bool = True) -> Stack:
    return Stack.model_validate(
        {
            "name": "s",
            "targets": ["el9-x86_64"],
            "images": [{"name": name} for name in names or ("tools/one:1",)],
            "sources": {"images": {"registry": address, "insecure": insecure}},
        }
    )


def blobs(cache: Cache) -> list[Path]:
    return sorted(cache.folder("images/blobs").rglob("*/*"))


def made(wanted: Stack, cache: Cache) -> Artifact:
    (artifact,) = oci.resolve(wanted, cache).artifacts
    oci.make(artifact, wanted.sources, cache)
    return artifact


def bundled(part: Part, root: Path, cache: Cache) -> dict[str, str]:
    """Digest of each image, as skopeo reads the layout made of `part`."""
    oci.index(root, merge("s", ["el9-x86_64"], [part]), cache)
    names = [artifact.path for artifact in part.artifacts]
    shown = {name: tool("skopeo", "inspect", f"oci:{root}/images:{name}") for name in names}
    return {name: json.loads(text)["Digest"] for name, text in shown.items()}


def test_resolving_copies_nothing_and_gives_the_same_twice(plain: str, cache: Cache) -> None:
    wanted = stack(plain, "tools/two:1", "tools/one:1")
    first = oci.resolve(wanted, cache)
    assert oci.resolve(wanted, cache) == first
    assert blobs(cache) == []
    one = next(a for a in first.artifacts if a.name == "tools/one")
    assert (one.license, one.released, one.version) == ("MIT", "2024-02-03", "1")
    assert one.url == f"docker://{plain}/tools/one@sha256:{one.sha256}"
    assert one.path == "localhost/tools/one:1"
    assert one.size > len(layer("one"))


def test_images_of_both_formats_are_made_and_indexed(
    plain: str, cache: Cache, tmp_path: Path
) -> None:
    wanted = stack(plain, "tools/one:1", "tools/two:1")
    part = oci.resolve(wanted, cache)
    assert not any(oci.has(artifact, cache) for artifact in part.artifacts)
    for artifact in part.artifacts:
        oci.make(artifact, wanted.sources, cache)
    assert all(oci.has(artifact, cache) for artifact in part.artifacts)
    found = bundled(part, tmp_path / "bundle", cache)
    one = next(a for a in part.artifacts if a.name == "tools/one")
    assert found["localhost/tools/one:1"] == f"sha256:{one.sha256}"
    assert len(found) == 2


@pytest.mark.parametrize("damage", [b"", b"?"], ids=["another size", "the same size"])
def test_a_damaged_image_is_copied_anew(plain: str, cache: Cache, damage: bytes) -> None:
    wanted = stack(plain)
    artifact = made(wanted, cache)
    good = {file: file.read_bytes() for file in blobs(cache)}
    assert len(good) == 3
    for file, content in good.items():
        file.write_bytes(damage * len(content))
    assert not oci.has(artifact, cache)
    oci.make(artifact, wanted.sources, cache)
    assert {file: file.read_bytes() for file in blobs(cache)} == good
    assert oci.has(artifact, cache)


def test_a_copy_that_was_broken_off_is_begun_again(plain: str, cache: Cache) -> None:
    wanted = stack(plain)
    artifact = made(wanted, cache)
    layout = cache.folder(f"images/layouts/{artifact.sha256}")
    (layout / "complete").unlink()
    (layout / "index.json").write_text("{")
    assert not oci.has(artifact, cache)
    oci.make(artifact, wanted.sources, cache)
    assert oci.has(artifact, cache)


def test_a_locked_digest_stays_when_the_name_has_moved(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with registry(tmp_path / "data") as address:
        push(image(tmp_path / "old", "old"), address, "tools/one:1", "--preserve-digests")
        wanted = stack(address)
        old = oci.resolve(wanted, cache)
        push(image(tmp_path / "new", "new"), address, "tools/one:1", "--preserve-digests")
        lock = merge("s", ["el9-x86_64"], [old])
        assert oci.resolve(wanted, cache, Kept(lock, frozenset())) == old
        oci.make(old.artifacts[0], wanted.sources, cache)
        assert oci.has(old.artifacts[0], cache)
        moved = oci.resolve(wanted, cache, Kept(lock, frozenset({"tools/one"})))
        assert moved.artifacts[0].sha256 != old.artifacts[0].sha256


def test_a_digest_that_is_gone_is_named(plain: str, cache: Cache) -> None:
    wanted = stack(plain)
    (artifact,) = oci.resolve(wanted, cache).artifacts
    url = artifact.url.replace(artifact.sha256, "0" * 64)
    gone = artifact.model_copy(update={"url": url, "sha256": "0" * 64})
    with pytest.raises(SourceError, match="sha256:0000"):
        oci.make(gone, wanted.sources, cache)


def test_certificates_and_credentials_reach_the_registry(data: Path, tmp_path: Path) -> None:
    """A registry of a private authority, that wants a certificate and a password."""
    for name in ("server", "client"):
        certificate(tmp_path, name)
    (tmp_path / "htpasswd").write_text(HTPASSWD + "\n")
    tls = {
        "certificate": str(tmp_path / "server.crt"),
        "key": str(tmp_path / "server.key"),
        "clientcas": [str(tmp_path / "client.crt")],
    }
    login = {"htpasswd": {"realm": "test", "path": str(tmp_path / "htpasswd")}}
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    (tmp_path / "netrc").chmod(0o600)
    with registry(data, http={"tls": tls}, auth=login) as address:
        entry = Entry(
            url=f"https://{address}/",
            ca=str(tmp_path / "server.crt"),
            client_cert=str(tmp_path / "client.crt"),
            client_key=str(tmp_path / "client.key"),
            netrc=str(tmp_path / "netrc"),
        )
        wanted = stack(address, insecure=False)
        cache = Cache(tmp_path / "cache", access=Access([entry]))
        assert oci.has(made(wanted, cache), cache)
        (tmp_path / "empty").write_text("")
        without: list[dict[str, str | None]] = [
            {"ca": None},
            {"client_cert": None, "client_key": None},
            {"netrc": str(tmp_path / "empty")},
        ]
        for changes in without:
            poor = Cache(tmp_path / "poor", access=Access([entry.model_copy(update=changes)]))
            with pytest.raises(SourceError) as caught:
                oci.resolve(wanted, poor)
            assert PASSWORD not in str(caught.value)


def test_the_password_is_on_no_command_line_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """skopeo's place is taken by a program that tells how it was called."""
    seen = tmp_path / "seen"
    program = tmp_path / "bin/skopeo"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {seen}\nfor a; do case "$a" in *authfile=*)\n'
        f'stat -c %a "${{a#*=}}" >> {seen}; cat "${{a#*=}}" >> {seen};; esac; done\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    (tmp_path / "netrc").chmod(0o600)
    entry = Entry(url="https://127.0.0.1:1/", netrc=str(tmp_path / "netrc"))
    cache = Cache(tmp_path / "cache", access=Access([entry]))
    with pytest.raises(SourceError):
        oci.resolve(stack("127.0.0.1:1"), cache)
    words, mode, content = seen.read_text().split("\n", 2)
    assert PASSWORD not in words
    assert mode == "600"
    assert json.loads(content) == {"auths": {"127.0.0.1:1": {"auth": "cmVhZGVyOnNlOmNyZXQ="}}}
    assert list((tmp_path / "tmp").iterdir()) == []


def certificate(folder: Path, name: str) -> None:
    files = ["-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"]
    who = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    tool("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *files, *who)


@contextmanager
def proxy(host: str, address: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy for plain HTTP that knows `host`; yields its URL and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            request = urllib.request.Request(self.path.replace(host, address), method=self.command)
            request.add_header("Accept", ", ".join(self.headers.get_all("Accept", [])))
            try:
                answer = urllib.request.urlopen(request)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                self.send_response(answer.status)
                for key, value in answer.headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(answer.read())

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_proxy_of_its_own_is_used(
    plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "registry.test")
    with proxy("registry.test:5000", plain) as (url, asked):
        entry = Entry(url="https://registry.test:5000/", proxy=url)
        cache = Cache(tmp_path / "cache", access=Access([entry]))
        made(stack("registry.test:5000"), cache)
    assert any("/manifests/" in path for path in asked)
    assert any("/blobs/" in path for path in asked)


def test_direct_means_no_proxy(plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's proxy is not asked; so the name, which nobody knows, is not found."""
    with proxy("registry.test:5000", plain) as (url, asked):
        monkeypatch.setenv("HTTPS_PROXY", url)
        monkeypatch.setenv("http_proxy", url)
        entry = Entry(url="https://registry.test:5000/", proxy="direct")
        cache = Cache(tmp_path / "cache", access=Access([entry]))
        with pytest.raises(SourceError, match=r"registry\.test"):
            oci.resolve(stack("registry.test:5000"), cache)
    assert asked == []
