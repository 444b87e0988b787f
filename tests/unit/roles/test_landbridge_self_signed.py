"""Module landbridge_self_signed, with the real openssl."""

import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

NAMES = ["hub.example.org", "hub", "192.0.2.10", "2001:db8::1"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(load("jupyterhub", "landbridge_self_signed"), capsys)


@pytest.fixture
def pem(tmp_path: Path, run: Runner) -> Path:
    """A certificate that the module has made."""
    path = tmp_path / "hub.pem"
    answer = run(path=str(path), names=NAMES)
    assert (answer["changed"], answer["reason"]) == (True, "there is none")
    return path


def openssl(*words: Any) -> str:
    command = ["openssl", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_certificate_fits_its_key_and_is_for_the_names(pem: Path) -> None:
    assert openssl("pkey", "-in", pem, "-pubout") == openssl(
        "x509", "-in", pem, "-noout", "-pubkey"
    )
    said = openssl("x509", "-in", pem, "-noout", "-subject", "-ext", "subjectAltName")
    assert "hub.example.org" in said.splitlines()[0]
    for name in ("DNS:hub.example.org", "DNS:hub", "IP Address:192.0.2.10", "2001:DB8"):
        assert name in said
    assert openssl("verify", "-CAfile", pem, "-verify_hostname", "hub", pem).endswith("OK\n")


def test_key_is_for_its_owner_alone(pem: Path) -> None:
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    assert [file.name for file in pem.parent.iterdir()] == ["hub.pem"]


def test_second_run_changes_nothing(pem: Path, run: Runner) -> None:
    before = pem.read_bytes()
    assert run(path=str(pem), names=list(reversed(NAMES)))["changed"] is False
    assert pem.read_bytes() == before


def test_certificate_is_renewed_before_it_ends(pem: Path, run: Runner) -> None:
    before = pem.read_bytes()
    answer = run(path=str(pem), names=NAMES, renew_days=826)
    assert answer["reason"] == "it ends within 826 days"
    assert pem.read_bytes() != before


@pytest.mark.parametrize("names", [["hub.example.org"], [*NAMES, "192.0.2.11"]])
def test_other_names_make_another_certificate(pem: Path, run: Runner, names: list[str]) -> None:
    answer = run(path=str(pem), names=names)
    assert answer["reason"] == "the names differ"
    assert run(path=str(pem), names=names)["changed"] is False


def test_damaged_file_is_replaced(pem: Path, run: Runner) -> None:
    pem.write_text(pem.read_text().partition("-----BEGIN PRIVATE KEY")[0])
    assert run(path=str(pem), names=NAMES)["reason"] == "the file holds no certificate with its key"
    assert run(path=str(pem), names=NAMES)["changed"] is False


def test_check_mode_writes_nothing_and_no_key_is_shown(tmp_path: Path, run: Runner) -> None:
    path = tmp_path / "hub.pem"
    answer = run(check=True, path=str(path), names=NAMES)
    assert answer["changed"] is True
    assert not path.exists()
    assert "DNS:hub.example.org" in answer["diff"]["after"]


def test_name_that_openssl_refuses_is_named(tmp_path: Path, run: Runner) -> None:
    answer = run(path=str(tmp_path / "hub.pem"), names=["a,b=c"])
    assert answer["failed"] is True
    assert "a,b=c" in answer["msg"]
