"""`landbridge lock`: make, update and check the lock of a stack; compare two locks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from landbridge.cli.options import AsJson, CacheFolder, PolicyFile, default_cache
from landbridge.cli.progress import progress
from landbridge.cli.stack import SourcesFile, StackFile
from landbridge.lock_diff import diff as diff_locks
from landbridge.lock_file import Inputs, check_lock
from landbridge.lock_fit import read_lock

if TYPE_CHECKING:
    from landbridge.locking import Locked

_DEFAULT = "stack"


class _DefaultGroup(TyperGroup):
    """`lock STACK` is `lock stack STACK`: what is no sub-verb belongs to the default one."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    help="Lock what a stack wants: `landbridge lock STACK` (see `landbridge lock stack --help`).",
    cls=_DefaultGroup,
    no_args_is_help=True,
)


@app.command(_DEFAULT)
def lock(
    *,
    stack: StackFile,
    sources: SourcesFile = None,
    policy: PolicyFile = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Default: STACK with the suffix .lock."),
    ] = None,
    cache: CacheFolder = None,
    update: Annotated[
        list[str] | None,
        typer.Option("--update", metavar="NAME", help="Change only this, and what it forces."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether the lock fits; exit code 1 if not.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Resolve a stack, and write exactly which artifacts that comes to (the default sub-verb)."""
    inputs = Inputs(
        stack_file=stack,
        cache=cache or default_cache(),
        sources=sources,
        lock_file=output,
        policy_file=policy,
    )
    if check:
        _check(inputs, as_json=as_json)
        return
    # Slow to import, and a check needs nothing that resolves.
    from landbridge.locking import lock_stack  # noqa: PLC0415

    with progress(sys.stderr) as (say, tell):
        locked = lock_stack(inputs, say, tell=tell, names=update or [])
    _print(inputs.lock_path, locked, as_json=as_json)


@app.command("diff")
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="The older lock.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The newer lock.")],
    as_json: AsJson = False,
) -> None:
    """Print what is added, removed and changed from lock A to lock B."""
    one, two = (read_lock(path, "give the path of a lock") for path in (a, b))
    found = diff_locks(one, two)
    typer.echo(json.dumps(found.as_dict(), indent=2) + "\n" if as_json else found.text(), nl=False)


def _check(inputs: Inputs, *, as_json: bool) -> None:
    faults = check_lock(inputs)
    if as_json:
        result = {"lock": str(inputs.lock_path), "fits": not faults, "faults": faults}
        typer.echo(json.dumps(result, indent=2))
    elif faults:
        typer.echo("\n".join(f"{inputs.lock_path}: {line}" for line in faults), err=True)
        typer.echo(f"next: {inputs.mend}", err=True)
    else:
        typer.echo(f"{inputs.lock_path}: fits {inputs.stack_file}")
    if faults:
        raise typer.Exit(1)


def _print(path: Path, locked: Locked, *, as_json: bool) -> None:
    difference = locked.difference
    number = len(locked.lock.artifacts)
    if as_json:
        result = {"lock": str(path), "changed": locked.changed, "artifacts": number}
        typer.echo(json.dumps({**result, "difference": difference.as_dict()}, indent=2))
        return
    if not locked.changed:
        typer.echo(f"{path}: unchanged ({number} artifacts)")
        return
    counts = (len(difference.added), len(difference.removed), len(difference.changed))
    typer.echo("{}: written ({} artifacts: +{} -{} ~{})".format(path, number, *counts))
    typer.echo("next: commit it, and run `landbridge bundle build`")
