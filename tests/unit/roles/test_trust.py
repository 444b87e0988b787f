"""Role trust: certificates and files on the node, and what it refuses."""

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lab.authority import authority
from tests.unit.roles.modules import Runner, load
from tests.unit.roles.validation import Validation

KEY = "-----BEGIN PRIVATE KEY-----"
BAD: list[tuple[str, Any, str]] = [
    ("trust_proxy_http", "proxy.example.org:3128", "write http://HOST:PORT"),
    ("trust_proxy_http", "http://me:word@proxy:3128", "//***@proxy"),
    ("trust_proxy_https", "socks5://proxy", "write http://HOST:PORT"),
    ("trust_no_proxy", ["https://intern.example.org"], "without a scheme"),
    ("trust_no_proxy", ["*.example.org"], "without a scheme and *"),
    ("trust_proxy_user", "me", "give both or none"),
    ("trust_proxy_password", "word", "give both or none"),
]
GOOD = {
    "trust_proxy_http": "http://proxy.example.org:3128",
    "trust_no_proxy": [".example.org", "10.0.0.0/8", "fd00::1", "host-1"],
    "trust_proxy_user": "me",
    "trust_proxy_password": "a:b@c/d",
}
ROLE = Validation("trust", {})


@pytest.fixture
def files(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(load("trust", "landbridge_trust_files"), capsys)


@pytest.fixture
def clock(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(load("trust", "landbridge_trust_clock"), capsys)


@pytest.fixture
def anchors(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Runs the module on a folder, with an update-ca-trust that makes the store of it."""
    command = tmp_path / "bin" / "update-ca-trust"
    command.parent.mkdir()
    command.write_text(
        f"#!/bin/sh\ncat {tmp_path}/anchors/* > {tmp_path}/store 2>/dev/null; true\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:/usr/bin:/bin")
    runner = Runner(load("trust", "landbridge_trust_anchors"), capsys)
    places = {"folder": str(tmp_path / "anchors"), "store": str(tmp_path / "store")}
    return lambda *texts, **flags: runner(**flags, certificates=list(texts), **places)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority's certificate `ca.pem` and its key `ca.key`."""
    return authority(tmp_path_factory.mktemp("ca")).folder


@pytest.fixture(scope="module")
def ca(folder: Path) -> str:
    return (folder / "ca.pem").read_text()


def test_certificate_comes_into_the_store_and_goes(
    anchors: Callable[..., Any], tmp_path: Path, ca: str
) -> None:
    assert anchors(check=True)["changed"] is False
    assert anchors(ca, check=True)["changed"] is True
    assert not (tmp_path / "anchors").exists()
    (name,) = anchors(ca)["names"]
    assert (tmp_path / "anchors" / name).read_text() == (tmp_path / "store").read_text() == ca
    assert anchors(ca.replace("\n", "\r\n"))["changed"] is False
    (tmp_path / "anchors" / "site.pem").write_text(ca)
    assert anchors()["changed"] is True
    assert [file.name for file in (tmp_path / "anchors").iterdir()] == ["site.pem"]


def test_store_is_made_when_an_earlier_run_did_not_get_so_far(
    anchors: Callable[..., Any], tmp_path: Path, ca: str
) -> None:
    anchors(ca)
    (tmp_path / "store").unlink()
    assert anchors(ca)["changed"] is True
    assert (tmp_path / "store").read_text() == ca


def issued(folder: Path, *options: str, wrapper: tuple[str, ...] = ()) -> str:
    """A certificate of the authority's, made with these options of openssl."""
    ca = ["-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"), "-subj", "/CN=Other"]
    files = ["-keyout", str(folder / "other.key"), "-out", str(folder / "other.pem")]
    command = [*wrapper, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    subprocess.run([*command, *ca, *files, *options], capture_output=True, check=True)
    return (folder / "other.pem").read_text()


def test_what_is_no_trustworthy_certificate_is_refused(
    anchors: Callable[..., Any], folder: Path, ca: str
) -> None:
    server = issued(folder, "-addext", "basicConstraints=critical,CA:FALSE")
    expired = issued(folder, wrapper=("faketime", "2020-01-01"))
    broken = ca.replace("MII", "MIX", 1)
    texts = {
        ca
        + (
            folder / "ca.key"
        ).read_text(): "entry 1 holds a private key: give the certificate alone",
        "-----BEGIN PUBLIC KEY-----": "entry 1 holds no PEM certificate",
        broken: "cannot be read",
        server: "of no authority",
        expired: "expired on Jan",
    }
    for text, words in texts.items():
        answer = anchors(text)
        assert answer.get("failed"), words
        assert answer["msg"].startswith("trust_certificates: ")
        assert words in answer["msg"]


def test_files_come_with_their_modes_and_go(tmp_path: Path, files: Runner) -> None:
    open_file, secret = tmp_path / "a" / "open", tmp_path / "secret"
    wanted = {"files": {str(open_file): "x\n"}, "secrets": {str(secret): "word\n"}}
    answer = files(check=True, **wanted)
    assert (answer["changed"], list(tmp_path.iterdir())) == (True, [])
    answer = files(**wanted)
    assert answer["paths"] == [str(secret), str(open_file)]
    assert "word" not in str(answer)
    assert files(**wanted)["changed"] is False
    assert stat.S_IMODE(open_file.stat().st_mode) == 0o644
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    secret.chmod(0o644)
    assert files(**wanted)["paths"] == [str(secret)]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert files(files={str(open_file): ""}, secrets={str(secret): ""})["changed"] is True
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    assert files(files={str(open_file): ""})["changed"] is False


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_clock_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Runner, answer: str
) -> None:
    command = tmp_path / "timedatectl"
    command.write_text(f"#!/bin/sh\necho {answer}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    said = clock(required=True)
    assert said.get("failed", False) is (answer == "no")
    if answer == "no":
        assert "trust_require_time_sync" in said["msg"]
        assert "chronyd" in str(clock(required=False)["warnings"])


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of the defaults, of GOOD, and of each row of BAD."""
    bad = [(variable, {variable: value}) for variable, value, _words in BAD]
    return ROLE.judge([{}, GOOD], bad, tmp_path_factory.mktemp("validate"))


def test_defaults_and_good_values_pass(judged: list[str]) -> None:
    assert judged[:2] == ["", ""]


@pytest.mark.parametrize("row", range(len(BAD)), ids=[f"{v}-{i}" for i, (v, *_) in enumerate(BAD)])
def test_bad_value_is_refused_by_name_and_with_the_mend(judged: list[str], row: int) -> None:
    variable, _value, words = BAD[row]
    assert variable in judged[2 + row]
    assert words in judged[2 + row]


def test_every_variable_that_is_judged_has_a_row() -> None:
    assert ROLE.judged() - {variable for variable, *_ in BAD} == set()
