import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from landbridge.errors import NodeError
from landbridge.facts.gather import script_command, take_snapshot


def test_a_script_travels_in_its_command(tmp_path: Path) -> None:
    script = tmp_path / "say.py"
    script.write_text(
        "import sys\nif __name__ == '__main__':\n    print('%s \"quoted\"', sys.argv)"
    )
    line = shlex.join(script_command(script, ["a b", "$HOME"], sys.executable))
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "%s \"quoted\" ['-c', 'a b', '$HOME']\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (SimpleNamespace(rc=1, stdout="", stderr="noise\nsnapshot: no bundle"), "no bundle"),
        (SimpleNamespace(rc=127, stdout="", stderr=""), "exit code 127"),
        (SimpleNamespace(rc=0, stdout="{}", stderr=""), "unreadable snapshot"),
    ],
)
def test_what_went_wrong_is_told(answer: SimpleNamespace, words: str) -> None:
    with pytest.raises(NodeError, match=words):
        take_snapshot(lambda _line: answer, "/depot")


def test_an_unreachable_node_is_told() -> None:
    def refuse(_line: str) -> SimpleNamespace:
        raise RuntimeError("connection refused")

    with pytest.raises(NodeError, match="cannot be reached: connection refused"):
        take_snapshot(refuse, "/depot")
