"""Progress of a build: lines for its stages, and on a terminal a bar while files are fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from landbridge.errors import redact
from landbridge.stages import Say, Tell


@contextmanager
def progress(stream: TextIO) -> Iterator[tuple[Say, Tell]]:
    """Show progress on `stream` until the block ends.

    Yields:
        A function for lines, which shows no URL's credentials, and one for bytes; the latter
        shows nothing unless on a terminal.
    """
    if not stream.isatty():
        yield lambda line: print(redact(line), file=stream, flush=True), lambda _new, _total: None
        return
    # Slow to import, and most runs have no terminal.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("fetch", total=None)

        def tell(new: int, total: int) -> None:
            bar.update(task, advance=new, total=total or None)

        yield lambda line: bar.console.print(redact(line), markup=False, highlight=False), tell
