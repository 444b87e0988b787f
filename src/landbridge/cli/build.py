"""`landbridge bundle plan` and `bundle build`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from landbridge.bundle.build import Built, Options
from landbridge.bundle.build import build as build_bundle
from landbridge.bundle.plan import Plan, Space
from landbridge.bundle.plan import plan as plan_bundle
from landbridge.bundle.sign import SigningKey
from landbridge.bundle.volumes import parse_size
from landbridge.bundle.volumes import split as split_volumes
from landbridge.cli.options import (
    AsJson,
    BundleFolder,
    CacheFolder,
    LockFile,
    PassphraseFile,
    PolicyFile,
    default_cache,
)
from landbridge.cli.progress import progress
from landbridge.cli.stack import SourcesFile, StackFile
from landbridge.errors import InputError
from landbridge.stages import megabytes

RBinaries = Annotated[
    bool,
    typer.Option(
        "--r-binaries", help="Compile the R packages here, so that nodes need no compiler (root)."
    ),
]


def plan(
    *,
    stack: StackFile,
    sources: SourcesFile = None,
    lock: LockFile = None,
    policy: PolicyFile = None,
    output: BundleFolder = Path("bundle"),
    cache: CacheFolder = None,
    r_binaries: RBinaries = False,
    as_json: AsJson = False,
) -> None:
    """Tell what a build would fetch, from where, and the space it needs; nothing is fetched."""
    options = _options(
        stack=stack,
        sources=sources,
        lock=lock,
        policy=policy,
        output=output,
        cache=cache,
        r_binaries=r_binaries,
    )
    found = plan_bundle(options)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "fetch_bytes": found.fetch_bytes}, indent=2))
        return
    _print_plan(found)


def build(
    *,
    stack: StackFile,
    sources: SourcesFile = None,
    lock: LockFile = None,
    policy: PolicyFile = None,
    output: BundleFolder = Path("bundle"),
    cache: CacheFolder = None,
    sign_key: Annotated[
        str | None,
        typer.Option(
            "--sign-key",
            metavar="KEY",
            help="A file with a secret key, or a fingerprint or user id that gpg knows.",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    r_binaries: RBinaries = False,
    volume_size: Annotated[
        str | None,
        typer.Option(
            "--volume-size", metavar="SIZE", help="Split it for media (700M, 4G), into DIR.volumes."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch and index what the lock of a stack holds, and write it as one folder.

    Where there is no lock yet, it is made first.
    """
    if passphrase_file and not sign_key:
        raise InputError("--passphrase-file: there is nothing to sign with", "give --sign-key too")
    size = parse_size(volume_size) if volume_size else None
    options = _options(
        stack=stack,
        sources=sources,
        lock=lock,
        policy=policy,
        output=output,
        cache=cache,
        r_binaries=r_binaries,
        sign_key=SigningKey(sign_key, passphrase_file) if sign_key else None,
    )
    with progress(sys.stderr) as (say, tell):
        built = build_bundle(options, say, tell=tell)
    volumes = options.output.with_name(f"{options.output.name}.volumes") if size else None
    if size and volumes:
        split_volumes(options.output, volumes, size)
    if as_json:
        places = {"output": str(options.output), "volumes": str(volumes) if volumes else None}
        typer.echo(json.dumps({**places, **asdict(built)}, indent=2))
        return
    _print_built(output, built, volumes)


def _options(
    *,
    stack: Path,
    sources: Path | None,
    lock: Path | None,
    policy: Path | None,
    output: Path,
    cache: Path | None,
    r_binaries: bool,
    sign_key: SigningKey | None = None,
) -> Options:
    return Options(
        stack_file=stack,
        sources=sources,
        lock_file=lock,
        policy_file=policy,
        output=output.absolute(),
        cache=cache or default_cache(),
        r_binaries=r_binaries,
        sign_key=sign_key,
    )


def _print_built(output: Path, built: Built, volumes: Path | None) -> None:
    size = f"{built.files} files, {megabytes(built.size)}"
    news = f"{megabytes(built.fetched)} fetched" if built.changed else "unchanged"
    typer.echo(f"{output}: {built.release} ({size}, {news})")
    if built.signed:
        typer.echo(f"signed by {built.signed}")
    else:
        typer.echo("not signed, which nodes refuse: run landbridge bundle sign, or give --sign-key")
    if volumes:
        typer.echo(f"next: carry the files in {volumes} over, and run landbridge depot receive")
    else:
        typer.echo(
            f"next: carry the folder {output} to the node, and run its bootstrap.sh there as root "
            "(the first time with --trust-key and the public key)"
        )


def _print_plan(plan: Plan) -> None:
    table = Table("ecosystem", title=f"bundle plan: {plan.stack}")
    for column in ("files", "size", "to fetch", "size"):
        table.add_column(column, justify="right")
    table.add_column("from")
    for name, share in plan.ecosystems.items():
        numbers = (share.files, megabytes(share.bytes), share.fetch_files)
        hosts = "\n".join(share.hosts)
        table.add_row(name, *map(str, numbers), megabytes(share.fetch_bytes), hosts)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    made = [file for share in plan.ecosystems.values() for file in share.made]
    typer.echo(f"to fetch: {megabytes(plan.fetch_bytes)}")
    if made:
        typer.echo(f"made here: {', '.join(made)}")
    for one in plan.r_binaries:
        total = len(one.packages) + one.cached
        root = f", in a root of {megabytes(one.root_bytes)}" if one.root_bytes else ""
        names = f": {', '.join(one.packages)}" if one.packages else ""
        place = f"{one.target}, R {one.r_version}"
        typer.echo(f"to compile for {place}{root}: {len(one.packages)} of {total}{names}")
        for name, reason in one.left_out.items():
            typer.echo(f"  not compiled: {name} {reason}")
    typer.echo(f"cache: {_space(plan.cache)}")
    typer.echo(f"bundle: {_space(plan.output)}")
    typer.echo(f"enough: {'yes' if plan.enough else 'no'}")
    typer.echo(f"at the receiver: {megabytes(plan.release_bytes)}, and installed on a node about:")
    for kind, size in plan.installed_bytes.items():
        sizes = size if isinstance(size, dict) else {"": size}
        for target, number in sizes.items():
            typer.echo(f"  {f'{kind} {target}'.strip()}: {megabytes(number)}")


def _space(space: Space) -> str:
    return f"{space.folder} needs {megabytes(space.needed)}, {megabytes(space.free)} are free"
