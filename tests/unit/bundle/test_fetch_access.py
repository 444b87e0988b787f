"""Passwords, certificates and proxies: used where they belong, and seen nowhere else."""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from landbridge.access import Access
from landbridge.bundle.fetch import Cache
from landbridge.errors import InputError, SourceError
from landbridge.lock import Artifact
from landbridge.stack import Access as Entry
from tests.unit import fault_server as faulty

DATA = b"content" * 1000
PASSWORD = "s3cr-et"


@pytest.fixture(autouse=True)
def no_netrc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have one."""
    monkeypatch.setenv("NETRC", "/dev/null")


@pytest.fixture
def source() -> Iterator[faulty.Source]:
    with faulty.source() as server:
        server.files["/a"] = DATA
        yield server


def netrc(folder: Path, *hosts: str, password: str = PASSWORD) -> str:
    file = folder / "netrc"
    file.write_text("".join(f"machine {h} login me password {password}\n" for h in hosts))
    file.chmod(0o600)
    return str(file)


def cache(folder: Path, *entries: Entry) -> Cache:
    return Cache(folder / "cache", access=Access(entries), pauses=(0, 0, 0))


def fetched(cache: Cache, url: str) -> bool:
    return cache.learn(url).read_bytes() == DATA


@pytest.mark.parametrize("way", ["entry", "environment"])
def test_a_password_from_netrc_opens_the_source(
    source: faulty.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    source.login = f"me:{PASSWORD}"
    file = netrc(tmp_path, "127.0.0.1")
    if way == "environment":
        monkeypatch.setenv("NETRC", file)
    entries = [Entry(url=source.url, netrc=file)] if way == "entry" else []
    assert fetched(cache(tmp_path, *entries), f"{source.url}/a")


def test_without_a_password_the_mend_names_netrc(source: faulty.Source, tmp_path: Path) -> None:
    source.login = f"me:{PASSWORD}"
    with pytest.raises(SourceError, match=r"/a: HTTP 401") as caught:
        cache(tmp_path).learn(f"{source.url}/a")
    assert "netrc" in caught.value.mend
    assert len(source.asked) == 1


def test_a_password_is_seen_nowhere(
    source: faulty.Source, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in the fault's text, its causes, the cache's files, nor in what objects show."""
    entry = Entry(url=source.url, netrc=netrc(tmp_path, "127.0.0.1"))
    store = cache(tmp_path, entry)
    source.script["/a"] = [faulty.truncated(100)] * 4
    source.script["/b"] = [faulty.status(403)]
    seen = [repr(store.access.way(source.url)), repr(vars(store.access.way)), repr(store)]
    for path in ("/a", "/b"):
        with pytest.raises(SourceError) as caught:
            store.metadata(source.url + path)
        error: BaseException | None = caught.value
        while error is not None:
            seen += [str(error), repr(error)]
            error = error.__cause__
    store.metadata(f"{source.url}/a")
    files = [file for file in store.root.rglob("*") if file.is_file()]
    assert len(files) == 2
    seen += [file.read_text() for file in files] + [str(file) for file in files]
    seen += capfd.readouterr()
    basic = source.asked[0].headers["authorization"].split()[1]
    assert not [text for text in seen if PASSWORD in text or basic in text]


def redirect(url: str) -> faulty.Step:
    return faulty.status(302, Location=url)


def test_a_password_does_not_follow_a_redirect_to_another_host(
    source: faulty.Source, tmp_path: Path
) -> None:
    with faulty.source() as other:
        other.files["/a"] = DATA
        source.script["/a"] = [redirect(f"{other.url.replace('127.0.0.1', 'localhost')}/a")]
        entry = Entry(url=source.url, netrc=netrc(tmp_path, "127.0.0.1"))
        assert fetched(cache(tmp_path, entry), f"{source.url}/a")
        assert "authorization" in source.asked[0].headers
        assert "authorization" not in other.asked[0].headers


def test_the_other_host_gets_the_password_that_is_its_own(
    source: faulty.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", netrc(tmp_path, "localhost"))
    with faulty.source() as other:
        other.files["/a"] = DATA
        other.login = f"me:{PASSWORD}"
        source.script["/a"] = [redirect(f"{other.url.replace('127.0.0.1', 'localhost')}/a")]
        assert fetched(cache(tmp_path), f"{source.url}/a")
        assert "authorization" not in source.asked[0].headers


@pytest.mark.parametrize(
    ("location", "said"), [("file:///etc/passwd", "redirects to file:"), ("/a", "more than 10")]
)
def test_redirects_that_lead_astray_are_refused(
    source: faulty.Source, tmp_path: Path, location: str, said: str
) -> None:
    source.script["/a"] = [redirect(location)] * 20
    with pytest.raises(SourceError, match=f"/a: .*{said}"):
        cache(tmp_path).learn(f"{source.url}/a")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private CA, and certificates by it for a server and a client."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, capture_output=True, check=True)

    curve = "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"
    openssl("req", "-x509", *curve, "-nodes", "-subj", "/CN=Site CA", "-keyout", "ca.key",
            "-addext", "keyUsage=critical,keyCertSign", "-out", "ca.pem")  # fmt: skip
    signed = "-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1"
    for name in ("server", "client"):
        openssl("req", "-x509", *curve, "-nodes", *signed, "-subj", f"/CN={name}",
                "-addext", "basicConstraints=critical,CA:FALSE",
                "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    openssl("pkey", "-in", "client.key", "-aes256", "-passout", "pass:x", "-out", "locked.key")
    return folder


@pytest.fixture
def guarded(pki: Path) -> Iterator[faulty.Source]:
    """A source that lets nobody in without a certificate of the site's CA."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.pem"))
    context.load_cert_chain(pki / "server.pem", pki / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    with faulty.source(context) as server:
        server.files["/a"] = DATA
        yield server


def test_a_private_ca_and_a_client_certificate_open_the_source(
    guarded: faulty.Source, pki: Path, tmp_path: Path
) -> None:
    entry = Entry(
        url=guarded.url,
        ca=f"{pki}/ca.pem",
        client_cert=f"{pki}/client.pem",
        client_key=f"{pki}/client.key",
    )
    assert fetched(cache(tmp_path, entry), f"{guarded.url}/a")


@pytest.mark.parametrize("ca", [True, False])
def test_without_certificates_the_mend_names_them(
    guarded: faulty.Source, pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ca: bool
) -> None:
    """At once, for no second try changes it."""
    store = cache(tmp_path, Entry(url=guarded.url, ca=f"{pki}/ca.pem" if ca else None))
    pauses: list[float] = []
    monkeypatch.setattr(store, "_pause", pauses.append)
    with pytest.raises(SourceError, match=r"/a: .*(?i:certificate)") as caught:
        store.learn(f"{guarded.url}/a")
    assert "client_cert" in caught.value.mend
    assert "`ca`" in caught.value.mend
    assert pauses == []


@pytest.mark.parametrize("key", ["locked.key", "server.key", "ca.pem"])
def test_a_client_key_that_cannot_be_used_is_named(
    guarded: faulty.Source, pki: Path, tmp_path: Path, key: str
) -> None:
    cert, file = f"{pki}/client.pem", f"{pki}/{key}"
    store = cache(tmp_path, Entry(url=guarded.url, client_cert=cert, client_key=file))
    with pytest.raises(InputError, match=f"{cert} with key {file}: cannot be used"):
        store.learn(f"{guarded.url}/a")


def test_a_password_does_not_follow_a_redirect_out_of_tls(
    source: faulty.Source, guarded: faulty.Source, pki: Path, tmp_path: Path
) -> None:
    guarded.script["/a"] = [redirect(f"{source.url}/a")]
    file = netrc(tmp_path, "127.0.0.1")
    (tmp_path / "both.pem").write_text(
        (pki / "client.pem").read_text() + (pki / "client.key").read_text()
    )
    store = cache(
        tmp_path,
        Entry(
            url=guarded.url,
            ca=f"{pki}/ca.pem",
            client_cert=f"{tmp_path}/both.pem",
            netrc=file,
        ),
        Entry(url=source.url, netrc=file),
    )
    assert fetched(store, f"{guarded.url}/a")
    assert "authorization" in guarded.asked[0].headers
    assert "authorization" not in source.asked[0].headers


@pytest.mark.parametrize("given", ["entry", "environment", "direct"])
def test_a_proxy_is_used_unless_forbidden(
    source: faulty.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    for name in ("no_proxy", "NO_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with faulty.proxy() as proxy:
        if given != "entry":
            monkeypatch.setenv("http_proxy", proxy.url)
        choice = {"entry": proxy.url, "environment": None, "direct": "direct"}[given]
        store = cache(tmp_path, Entry(url=source.url, proxy=choice))
        assert fetched(store, f"{source.url}/a")
        assert proxy.asked == ([] if given == "direct" else [f"{source.url}/a"])


def test_each_source_is_reached_in_its_own_way(source: faulty.Source, tmp_path: Path) -> None:
    """Eight threads, two hosts with a password each: nobody gets the other's."""
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login a password 1\nmachine localhost login b password 2\n")
    file.chmod(0o600)
    with faulty.source() as other:
        source.login, other.login = "a:1", "b:2"
        wanted = []
        for number in range(40):
            server = (source, other)[number % 2]
            data = os.urandom(100)
            server.files[f"/{number}"] = data
            host = server.url if server is source else server.url.replace("127.0.0.1", "localhost")
            wanted.append(
                Artifact(
                    ecosystem="rpm",
                    name=str(number),
                    version="1",
                    path=str(number),
                    url=f"{host}/{number}",
                    sha256=hashlib.sha256(data).hexdigest(),
                    size=100,
                )
            )
        entries = [
            Entry(url=source.url, netrc=str(file)),
            Entry(url=other.url.replace("127.0.0.1", "localhost"), netrc=str(file)),
        ]
        store = cache(tmp_path, *entries)
        store.fetch(wanted)
        assert store.missing(wanted) == []
