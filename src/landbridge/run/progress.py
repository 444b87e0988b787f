"""What is seen of a run: a bar on a terminal, plain lines elsewhere, nothing for `--json`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from landbridge.run.result import Event, RunResult


class Display(Protocol):
    """Something that shows events as they come."""

    def __call__(self, event: Event, result: RunResult) -> None:
        """Show one event; `result` holds the sums so far, this event included."""


@contextmanager
def display(stream: TextIO, *, silent: bool = False) -> Iterator[Display]:
    """Choose the display for `stream`.

    Args:
        stream: where it is shown, for example `sys.stderr`.
        silent: show nothing.
    """
    if silent:
        yield lambda _event, _result: None
    elif stream.isatty():
        with _progress(stream) as progress:
            yield _Bar(progress)
    else:
        yield Lines(stream)


class Lines:
    """One line per task, with the seconds since the start; diffs as Ansible prints them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = time.monotonic()

    def __call__(self, event: Event, result: RunResult) -> None:
        """Print the line of a task that starts, and every diff."""
        if event.get("event") == "playbook_on_task_start":
            seconds = time.monotonic() - self._started
            counts = f"{result.changed} changed"
            print(f"{seconds:6.1f} s  {task_name(event)}  [{counts}]", file=self._stream)
        elif _is_diff(event):
            print(event["stdout"], file=self._stream)
        self._stream.flush()


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        # How many tasks there will be is known to nobody before the plays have run.
        self._task = progress.add_task("starting", total=None, counts="")

    def __call__(self, event: Event, result: RunResult) -> None:
        if event.get("event") == "playbook_on_task_start":
            self._progress.update(
                self._task,
                description=escape(task_name(event)),
                counts=f"{result.tasks} tasks, {result.changed} changed, "
                f"{len(result.failures)} failed",
            )
        elif _is_diff(event):
            self._progress.console.print(event["stdout"], markup=False, highlight=False)


def _progress(stream: TextIO) -> Progress:
    return Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[counts]}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(file=stream),
        transient=True,
    )


def task_name(event: Event) -> str:
    """`role : task` of a task's event."""
    data = event.get("event_data", {})
    name = str(data.get("name") or data.get("task") or "")
    role = data.get("role")
    return f"{role} : {name}" if role and not name.startswith(f"{role} : ") else name


def _is_diff(event: Event) -> bool:
    return str(event.get("event", "")).endswith("on_file_diff") and bool(event.get("stdout"))
