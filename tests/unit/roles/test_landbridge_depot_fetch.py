"""Module landbridge_depot_fetch, against a web server that fails on demand."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.authority import Authority, authority
from tests.unit import fault_server
from tests.unit.bundle_maker import Maker, contents, noise
from tests.unit.fault_server import Source
from tests.unit.roles.modules import Runner, load, shared

TARGET = "el9-x86_64"
R = "cran/src/contrib/a_1.tar.gz"
LOCK = "conda/envs/ds.linux-64.txt"
FILES: dict[str, bytes | None] = {
    R: noise("r", 300_000),
    f"cran/binaries/{TARGET}/4.5/src/contrib/a_1.tar.gz": b"built",
    "cran/binaries/el10-x86_64/4.5/src/contrib/a_1.tar.gz": b"of another target",
    LOCK: b"@EXPLICIT\nnoarch/c.conda#" + b"0" * 64 + b"\n",
    "conda/noarch/repodata.json": b"{}",
    "conda/noarch/repodata.json.zst": b"packed",
    "conda/noarch/repodata_shards.msgpack.zst": b"names",
    "conda/noarch/shards/ab.msgpack.zst": b"shard",
    "docs/README.md": b"to be read",
    "images/index.json": b'{"manifests": []}',
    "images/blobs/sha256/ab": b"blob",
}
FAR = {"rpm/el9-x86_64/Packages/a.rpm", "conda/noarch/c.conda", "pypi/simple/d/d.whl"}
# What only clients and browsers read.
FAR |= {path for path in FILES if path.endswith((".zst", ".md"))}


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


class Fleet:
    """A depot and a node."""

    def __init__(self, web: Source, trust: Authority, maker: Maker, folder: Path) -> None:
        self.web, self.trust, self.maker, self.folder = web, trust, maker, folder
        self.own = folder / "depot"
        self.run: Runner

    def publish(self, changes: dict[str, bytes | None] | None = None, **options: Any) -> str:
        """Serve a bundle as the current release; returns its name."""
        root = self.maker.bundle(self.folder / "bundle", FILES | (changes or {}), **options)
        found = contents(root)
        release = found["manifest.json"].decode().partition('"release": "')[2].partition('"')[0]
        for path, data in found.items():
            self.web.files[f"/landbridge/current/{path}"] = data
            self.web.files[f"/landbridge/releases/{release}/{path}"] = data
        return release

    def fetch(self, *, ca: bool = True, **options: Any) -> dict[str, Any]:
        login = {"ca": str(self.trust.certificate) if ca else ""}
        words = {"url": f"{self.web.url}/landbridge", "depot": str(self.own), "login": login}
        keys = [self.maker.trusted.read_text()]
        return self.run(**(words | {"keys": keys} | options))

    def fault(self, **options: Any) -> str:
        answer = self.fetch(**options)
        assert answer["failed"]
        return str(answer["msg"])


@pytest.fixture
def fleet(
    maker: Maker,
    trust: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Fleet]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(trust.issue("DNS:localhost", "IP:127.0.0.1"))
    module = load("preflight", "landbridge_depot_fetch")
    monkeypatch.setattr(module, "this_target", lambda: TARGET)
    monkeypatch.setattr(shared("landbridge_depot_client"), "PAUSES", (0, 0, 0))
    monkeypatch.setattr(shared("landbridge_release"), "RECORD", tmp_path / "release.json")
    with fault_server.source(tls) as web:
        made = Fleet(web, trust, maker, tmp_path)
        made.run = Runner(module, capsys)
        yield made


def test_what_no_client_checks_comes_to_the_node(fleet: Fleet) -> None:
    release = fleet.publish()
    answer = fleet.fetch()
    here = fleet.own / "current"
    assert (answer["changed"], answer["depot"]) == (True, str(here))
    assert answer["url"] == f"{fleet.web.url}/landbridge/releases/{release}"
    assert here.readlink() == Path("releases", release)
    got, all_files = contents(here), contents(fleet.folder / "bundle")
    assert {path: all_files[path] for path in got} == got
    left = {p for p in all_files if p not in got}
    assert left >= FAR | {"images/blobs/sha256/ab"}
    assert {R, LOCK, "toolkit/wheels/tool.whl", "images/index.json"} <= set(got)
    assert [path for path in left if "el10" in path] != []
    assert (here / "bootstrap.sh").stat().st_mode & 0o777 == 0o755
    assert list((fleet.own / "incoming").iterdir()) == []


def test_again_asks_for_the_signature_alone(fleet: Fleet) -> None:
    fleet.publish()
    fleet.fetch()
    fleet.web.asked.clear()
    assert fleet.fetch()["changed"] is False
    assert [one.path for one in fleet.web.asked] == ["/landbridge/current/manifest.json.asc"]


def test_the_next_release_brings_what_is_new(fleet: Fleet) -> None:
    fleet.publish()
    fleet.fetch()
    fleet.web.asked.clear()
    release = fleet.publish({"stack.yml": b"new"}, day=2)
    assert fleet.fetch()["release"] == release
    asked = {one.path.rpartition(f"{release}/")[2] for one in fleet.web.asked}
    assert "stack.yml" in asked
    assert R not in asked
    assert (fleet.own / "releases" / release / R).stat().st_nlink == 2


def test_check_mode_leaves_current(fleet: Fleet) -> None:
    release = fleet.publish()
    answer = fleet.fetch(check=True)
    assert answer["depot"] == str(fleet.own / "releases" / release)
    assert not (fleet.own / "current").exists()


def test_it_goes_on_where_it_was_interrupted(fleet: Fleet) -> None:
    path = f"/landbridge/releases/{fleet.publish()}/{R}"
    fleet.web.script[path] = [fault_server.truncated(100_000), *[fault_server.status(503)] * 4]
    said = fleet.fault()
    assert "503" in said
    assert "run this again: it goes on" in said
    assert not (fleet.own / "releases").exists()
    fleet.fetch()
    assert fleet.web.spans(path)[-1] == "bytes=100000-"


def test_what_is_not_promised_is_refused(fleet: Fleet) -> None:
    path = f"/landbridge/releases/{fleet.publish()}/{R}"
    good = fleet.web.files[path]
    fleet.web.files[path] = good[:-1] + b"x"
    said = fleet.fault()
    assert f"{R} is not what the signed manifest promises" in said
    fleet.web.files[path] = good
    assert "failed" not in fleet.fetch()


def test_nothing_is_fetched_for_a_stranger(fleet: Fleet) -> None:
    fleet.publish(owner="stranger")
    assert "none of the 1 trusted" in fleet.fault()
    names = {one.path.rpartition("/")[2] for one in fleet.web.asked}
    assert names == {"manifest.json", "manifest.json.asc"}
    assert not (fleet.own / "releases").exists()


def test_a_certificate_of_nobody_known(fleet: Fleet) -> None:
    fleet.publish()
    said = fleet.fault(ca=False)
    assert "the certificate of" in said
    assert "landbridge_depot_ca" in said


def test_an_authority_that_the_systems_store_is_yet_to_have(fleet: Fleet) -> None:
    fleet.publish()
    text = fleet.trust.certificate.read_text()
    broken = {"certificates": [text.replace("MII", "MIX", 1)]}
    assert "trust_certificates cannot be used" in fleet.fault(login=broken)
    assert "failed" not in fleet.fetch(login={"certificates": [text]})


def test_a_depot_that_wants_to_know_who_asks(fleet: Fleet) -> None:
    fleet.publish()
    fleet.web.login = "node1:secret"
    assert "landbridge_depot_client_certificate" in fleet.fault()
    login = {"ca": str(fleet.trust.certificate), "user": "node1", "password": "secret"}
    answer = fleet.fetch(login=login)
    assert "failed" not in answer
    assert "secret" not in str(answer)


def test_a_depot_that_does_not_answer(fleet: Fleet) -> None:
    said = fleet.fault(url="https://127.0.0.1:1/landbridge")
    assert "the depot gives no answer: Connection refused" in said
    assert "give https://DEPOT/landbridge" in fleet.fault(url="http://depot/landbridge")


def test_a_full_disk_is_told_before(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.publish()
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(shared("landbridge_depot_client").shutil, "disk_usage", lambda _path: full)
    assert "free some space" in fleet.fault()


def test_roles_bring_further_files(fleet: Fleet) -> None:
    fleet.publish()
    url = fleet.fetch()["url"]
    folder = fleet.own / "current"
    words: dict[str, Any] = {"url": url, "folder": str(folder), "prefixes": ["images/"]}
    words["locks"] = [LOCK]
    assert fleet.fetch(check=True, **words)["changed"] is True
    assert not (folder / "images/blobs").exists()
    assert fleet.fetch(**words)["changed"] is True
    for path in ("images/blobs/sha256/ab", "conda/noarch/c.conda", "conda/noarch/repodata.json"):
        assert (folder / path).read_bytes() == contents(fleet.folder / "bundle")[path]
    assert list(folder.rglob("*.zst")) == []
    assert fleet.fetch(**words)["changed"] is False
