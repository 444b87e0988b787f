import io

from landbridge.run.progress import display
from landbridge.run.result import RunResult

START = {
    "event": "playbook_on_task_start",
    "event_data": {"name": "Install [all]", "role": "podman"},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_every_task_is_a_plain_line() -> None:
    stream = io.StringIO()
    with display(stream) as show:
        show(START, RunResult(changed=3))
        show({"event": "runner_on_ok", "stdout": "noise"}, RunResult())
        show({"event": "runner_on_file_diff", "stdout": "+added"}, RunResult())
    lines = stream.getvalue().splitlines()
    assert lines[0].endswith("podman : Install [all]  [3 changed]")
    assert lines[1:] == ["+added"]


def test_on_a_terminal_a_bar_shows_counts() -> None:
    stream = Terminal()
    with display(stream) as show:
        show(START, RunResult(tasks=7, changed=3))
    assert "7 tasks, 3 changed, 0 failed" in stream.getvalue()


def test_silence_is_silent() -> None:
    stream = io.StringIO()
    with display(stream, silent=True) as show:
        show(START, RunResult())
    assert stream.getvalue() == ""
