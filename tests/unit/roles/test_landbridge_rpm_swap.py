"""Module landbridge_rpm_swap with an rpm and a dnf that know one list of packages."""

from pathlib import Path

import pytest

from tests.unit.roles.modules import Runner, load

RPM = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
for name; do grep -x "$name" "$DATABASE" || echo "package $name is not installed"; done
"""
# As the real one it ends with 0, and goes on after a step that it cannot do.
DNF = """#!/bin/sh
for script; do :; done
cp "$script" "$DATABASE.script"
while read -r verb names; do
  for name in $names; do
    case $verb in
      remove) [ "$1" = --assumeno ] || sed -i "/^$name$/d" "$DATABASE";;
      install)
        if [ "$name" = "$UNKNOWN" ]; then echo "Error: Unable to find a match: $name" >&2
        elif [ "$1" != --assumeno ] && [ "$name" != "$BROKEN" ]; then echo "$name" >>"$DATABASE"
        fi;;
    esac
  done
done <"$script"
[ "$1" != --assumeno ] || echo "Error: Operation aborted." >&2
"""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (("rpm", RPM), ("dnf", DNF)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("DATABASE", str(tmp_path / "database"))
    (tmp_path / "database").write_text("docker-ce\ndocker-ce-cli\npodman\n")
    return tmp_path / "database"


@pytest.fixture
def swap(capsys: pytest.CaptureFixture[str]) -> Runner:
    return Runner(load("podman", "landbridge_rpm_swap"), capsys)


LISTS = {"remove": ["docker-ce", "docker-ce-cli", "containerd.io"], "install": ["podman-docker"]}


def test_one_transaction_and_then_nothing(swap: Runner, database: Path) -> None:
    foreseen, first, second = swap(check=True, **LISTS), swap(**LISTS), swap(**LISTS)
    assert (
        database.with_suffix(".script").read_text()
        == "remove docker-ce docker-ce-cli\ninstall podman-docker\nrun\n"
    )
    assert database.read_text() == "podman\npodman-docker\n"
    assert foreseen["removed"] == first["removed"] == ["docker-ce", "docker-ce-cli"]
    assert foreseen["installed"] == first["installed"] == ["podman-docker"]
    assert foreseen["diff"] == first["diff"]
    assert first["diff"] == {"before": "docker-ce\ndocker-ce-cli\n", "after": "podman-docker\n"}
    assert (foreseen["changed"], first["changed"], second["changed"]) == (True, True, False)


def test_nothing_goes_where_what_is_to_come_is_not_there(
    swap: Runner, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNKNOWN", "podman-docker")
    before = database.read_text()
    assert "Error: Unable to find a match: podman-docker" in swap(**LISTS)["msg"]
    assert database.read_text() == before


def test_what_is_not_there_afterwards_fails(
    swap: Runner, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "podman-docker")
    assert swap(**LISTS)["msg"].startswith("dnf cannot remove docker-ce, docker-ce-cli and install")
    assert database.read_text() == "podman\n"


def test_dnf_is_asked_and_nothing_is_done(
    swap: Runner, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = database.read_text()
    answer = swap(**LISTS, only_ask=True)
    assert (answer["changed"], answer["removed"]) == (False, [])
    monkeypatch.setenv("UNKNOWN", "podman-docker")
    assert "Unable to find a match: podman-docker" in swap(**LISTS, only_ask=True)["msg"]
    assert database.read_text() == before


def test_nothing_asked_is_nothing_done(swap: Runner, database: Path) -> None:
    assert not swap(remove=[], install=[])["changed"]
    assert not database.with_suffix(".script").exists()
