"""Module landbridge_node on a machine made of files."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

EL = 'ID="rhel"\nPRETTY_NAME="Red Hat Enterprise Linux 10.0"\nVERSION_ID="10.0"\n'


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Runner:
    module = load("preflight", "landbridge_node")
    (tmp_path / "os-release").write_text(EL)
    (tmp_path / "1").mkdir()
    (tmp_path / "1/comm").write_text("systemd\n")
    monkeypatch.setattr(module, "OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(module, "PROC", tmp_path)
    monkeypatch.setattr(module, "PLACES", (str(tmp_path / "not/yet"), str(tmp_path)))
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    return Runner(module, capsys)


def now(shift: int = 0) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + shift))


def test_a_good_machine(run: Runner, tmp_path: Path) -> None:
    answer = run(check=True, now=now(), free_mib=1)
    assert answer["node"]["problems"] == []
    assert answer["node"]["release"] == "Red Hat Enterprise Linux 10.0"
    assert list(answer["node"]["free_mib"]) == [str(tmp_path)]  # one filesystem, once
    assert not answer["changed"]


@pytest.mark.parametrize(("shift", "said"), [(3600, "s behind"), (-3600, "s ahead of")])
def test_a_wrong_clock(run: Runner, shift: int, said: str) -> None:
    (found,) = run(now=now(shift), free_mib=1)["node"]["problems"]
    assert said in found["problem"]
    assert found["mend"]


def test_a_full_disk(run: Runner, tmp_path: Path) -> None:
    (found,) = run(now=now(), free_mib=10**9)["node"]["problems"]
    assert f"{tmp_path} has" in found["problem"]


def test_everything_is_told_at_once(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "os-release").write_text("ID=debian\nPRETTY_NAME=Debian\n")
    (tmp_path / "1/comm").write_text("sh\n")
    monkeypatch.setattr(run.module.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(run.module, "PYTHON", (9, 0))
    said = [item["problem"] for item in run(now=now(), free_mib=1)["node"]["problems"]]
    assert [text.split()[0] for text in said] == ["it", "its", "systemd", "become"]


@pytest.mark.parametrize("version", ["8.10", "11"])
def test_another_major(run: Runner, tmp_path: Path, version: str) -> None:
    (tmp_path / "os-release").write_text(EL.replace("10.0", version))
    (found,) = run(now=now(), free_mib=1)["node"]["problems"]
    assert "not Enterprise Linux 9 or 10" in found["problem"]
