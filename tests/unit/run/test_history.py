import json
import os
from pathlib import Path

import pytest

from landbridge.run.history import invoker, record, record_folder


def test_root_keeps_who_what_when_and_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "ada")
    with record("apply", ["ansible-playbook", "site.yml"], tmp_path / "log") as kept:
        kept.write("PLAY [all]")
        kept.write("")
        kept.result = {"ok": True}
    summary = json.loads(kept.log_path.with_suffix(".json").read_text())
    assert summary["by"] == "ada"
    assert summary["command"] == ["ansible-playbook", "site.yml"]
    assert summary["result"] == {"ok": True}
    assert summary["started"] <= summary["ended"]
    assert kept.log_path.read_text() == "PLAY [all]\n"
    assert sorted(p.suffix for p in (tmp_path / "log").iterdir()) == [".json", ".log"]
    assert kept.log_path.stat().st_mode & 0o007 == 0


def test_a_run_that_breaks_off_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(KeyboardInterrupt), record("apply", [], tmp_path):
        raise KeyboardInterrupt
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["result"] == {"ok": False, "error": "broken off"}


def test_others_than_root_keep_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with record("apply", []) as kept:
        kept.result = {"ok": True}
    assert kept.log_path.parent == tmp_path / "landbridge"
    assert kept.log_path.with_suffix(".json").is_file()
    assert record_folder({}) == Path.home() / ".local/state/landbridge"


def test_without_sudo_the_process_owner_asked() -> None:
    assert invoker({}) == invoker({"SUDO_USER": ""})
