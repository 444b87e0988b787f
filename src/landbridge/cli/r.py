"""`landbridge r`: what a lock holds for R, in the formats of R's own tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landbridge.cli.lazy import group
from landbridge.lock_fit import read_lock

app = group(
    "Hand a lock's R packages to R's own tools.",
    {
        "export": (
            "r:export",
            "Write the site library of a lock as renv.lock, for renv::restore().",
        )
    },
)


def export(
    lock: Annotated[
        Path, typer.Argument(metavar="LOCK", help="A lock, or stack.lock of a bundle.")
    ],
    *,
    r_version: Annotated[
        str | None,
        typer.Option("--r-version", metavar="X.Y.Z", help="Where the targets differ in R."),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Restore from there. Default: the lock's source."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Default: stdout.")
    ] = None,
) -> None:
    """Write the site library of a lock as renv.lock, for renv::restore()."""
    # Slow to import, and the help needs none of it.
    from landbridge.files import write_file  # noqa: PLC0415
    from landbridge.renv_export import renv_lock  # noqa: PLC0415

    text = renv_lock(read_lock(lock, "give the path of a lock"), r_version, repository)
    if output:
        write_file(output, text)
    else:
        typer.echo(text, nl=False)
