"""`landbridge bundle`: build and verify."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from landbridge.bundle.build import build as build_bundle
from landbridge.bundle.verify import Verdict
from landbridge.bundle.verify import verify as verify_bundle
from landbridge.cli.progress import progress
from landbridge.cli.stack import SourcesFile, StackFile

app = typer.Typer(
    help="Build a bundle where there is internet, check it anywhere.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def default_cache() -> Path:
    """The user's cache folder for landbridge (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "landbridge"


@app.command("build")
def build(
    stack: StackFile,
    sources: SourcesFile = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="The bundle's folder.")
    ] = Path("bundle"),
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keeps what was fetched, between builds."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Resolve, fetch and index what a stack wants, and write it as one folder."""
    with progress(sys.stderr) as (say, tell):
        folder = cache or default_cache()
        built = build_bundle(stack, sources, output.absolute(), folder, say, tell=tell)
    if as_json:
        typer.echo(json.dumps({"output": str(output.absolute()), **asdict(built)}, indent=2))
        return
    size = f"{built.files} files, {built.size / 1e6:.1f} MB"
    typer.echo(f"{output}: {built.release} ({size}, {built.fetched / 1e6:.1f} MB fetched)")
    typer.echo("next: carry the folder to the node and run ./bootstrap.sh in it as root")


@app.command("verify")
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="DIR", help="The bundle's folder.")],
    as_json: AsJson = False,
) -> None:
    """Check every file of a bundle against its manifest; exit code 1 names each that differs."""
    verdict = verify_bundle(bundle)
    if as_json:
        typer.echo(json.dumps({"ok": verdict.ok, **asdict(verdict)}, indent=2))
    else:
        _print(bundle, verdict)
    if not verdict.ok:
        raise typer.Exit(1)


def _print(bundle: Path, verdict: Verdict) -> None:
    lines = [f"bad      {path}: {fault}" for path, fault in verdict.bad.items()]
    lines += [f"missing  {path}" for path in verdict.missing]
    lines += [f"extra    {path}" for path in verdict.extra]
    for line in lines:
        typer.echo(line, err=True)
    size = f"{verdict.files} files, {verdict.size / 1e6:.1f} MB"
    result = "ok" if verdict.ok else f"{len(lines)} problems"
    typer.echo(f"{bundle}: {verdict.release}: {result} ({size})")
