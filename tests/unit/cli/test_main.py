"""How an error leaves the program: one message on stderr, an exit code that means something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from landbridge.cli import main as cli

MINIMAL = Path(__file__).parents[3] / "stacks/minimal.yml"


def landbridge(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("landbridge")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_a_wrong_key_exits_2_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.yml").write_text("name: x\ntargets: [el9-x86_64]\nrpms: {}\n")
    done = landbridge("bundle", "build", tmp_path / "stack.yml")
    assert done.returncode == 2
    assert "stack.yml:3: unknown key 'rpms'" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_sources_exit_2_and_are_named() -> None:
    done = landbridge("bundle", "build", MINIMAL)
    assert done.returncode == 2
    assert "sources.rpm.el9-x86_64" in done.stderr
    assert "--sources" in done.stderr


def test_a_folder_without_a_bundle_exits_1(tmp_path: Path) -> None:
    done = landbridge("bundle", "verify", tmp_path)
    assert done.returncode == 1
    assert "no bundle here" in done.stderr


def test_a_stack_is_checked_without_fetching() -> None:
    sources = MINIMAL.with_name("sources.example.yml")
    done = landbridge("stack", "check", MINIMAL, "--sources", sources)
    assert done.returncode == 0
    assert "minimal for el9-x86_64, el10-x86_64" in done.stdout


@pytest.mark.parametrize(
    ("fault", "code"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left on device"), 1)]
)
def test_no_fault_shows_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: BaseException,
    code: int,
) -> None:
    def fails() -> None:
        raise fault

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_passphrase_without_a_key_is_refused(tmp_path: Path) -> None:
    done = landbridge("bundle", "build", tmp_path / "s.yml", "--passphrase-file", tmp_path / "p")
    assert done.returncode == 2
    assert "--passphrase-file" in done.stderr
    assert "--sign-key" in done.stderr
