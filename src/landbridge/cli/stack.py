"""`landbridge stack`: the schema of `stack.yml`, and a check of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from landbridge.stack import json_schema, load_stack

app = typer.Typer(help="Look at what is wanted.", no_args_is_help=True)

StackFile = Annotated[Path, typer.Argument(metavar="STACK", help="The stack's YAML file.")]
SourcesFile = Annotated[
    Path | None,
    typer.Option("--sources", metavar="FILE", help="Where this site's mirrors are."),
]


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of stack.yml, for editors."""
    typer.echo(json_schema(), nl=False)


@app.command("check")
def check(stack: StackFile, sources: SourcesFile = None) -> None:
    """Read a stack and its sources; every fault is named with its line. Nothing is fetched."""
    wanted = load_stack(stack, sources)
    typer.echo(f"{stack}: ok ({wanted.name} for {', '.join(wanted.targets)})")
