"""`landbridge bundle`: build and verify."""

from __future__ import annotations

import typer

HELP = "Build a bundle where there is internet, check it anywhere."

app = typer.Typer(help=HELP, no_args_is_help=True)
