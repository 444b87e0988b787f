"""`landbridge depot`: the releases on a node."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from landbridge import depot as depots
from landbridge.cli.options import AsJson
from landbridge.cli.progress import progress
from landbridge.cli.sign import AllowUnsigned, TrustedKeys
from landbridge.depot import Received, Release
from landbridge.depot.sources import SCHEMES
from landbridge.errors import BundleError
from landbridge.stages import megabytes

if TYPE_CHECKING:
    from landbridge.access import Access

app = typer.Typer(help="Keep releases on this machine, one of them current.", no_args_is_help=True)

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="A bundle, a delta, volumes or a folder of them; or https://DEPOT/landbridge/current.",
    ),
]
DepotFolder = Annotated[Path, typer.Option("--depot", metavar="DIR", help="The depot's folder.")]
AllowDowngrade = Annotated[
    bool, typer.Option("--allow-downgrade", help="Accept what is older than the current release.")
]


@app.command("receive")
def receive(
    source: Sources,
    *,
    depot: DepotFolder = depots.DEFAULT,
    key: TrustedKeys = None,
    allow_unsigned: AllowUnsigned = False,
    allow_downgrade: AllowDowngrade = False,
    switch: Annotated[
        bool, typer.Option("--switch/--no-switch", help="Make it the current release.")
    ] = True,
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Authority of a URL's certificate, in PEM.",
        ),
    ] = None,
    client_cert: Annotated[
        Path | None,
        typer.Option(
            "--client-cert",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Certificate to show to a URL, in PEM.",
        ),
    ] = None,
    client_key: Annotated[
        Path | None,
        typer.Option(
            "--client-key",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Its key, unless in the same file.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take a release in, whole, as delta or volumes, or from another depot; again continues."""
    with progress(sys.stderr) as (say, tell):
        received = depots.receive(
            source,
            depot,
            key or (),
            allow_unsigned=allow_unsigned,
            allow_downgrade=allow_downgrade,
            activate=switch,
            access=_access(source, ca, client_cert, client_key),
            say=say,
            tell=tell,
        )
    if as_json:
        typer.echo(json.dumps({"depot": str(depot.absolute()), **asdict(received)}, indent=2))
        return
    _print_received(depot, received)


@app.command("list")
def list_releases(*, depot: DepotFolder = depots.DEFAULT, as_json: AsJson = False) -> None:
    """Print the releases, the newest first."""
    found = depots.releases(depot)
    if as_json:
        typer.echo(json.dumps([asdict(release) for release in found], indent=2))
        return
    _print_releases(depot, found)


@app.command("prune")
def prune(
    *,
    keep: Annotated[int, typer.Option("--keep", metavar="N", help="How many of the newest stay.")],
    depot: DepotFolder = depots.DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Remove old releases, never the current one; files that others share stay."""
    gone = depots.prune(depot, keep)
    if as_json:
        typer.echo(json.dumps({"removed": gone}, indent=2))
        return
    for name in gone:
        typer.echo(f"removed {name}")
    typer.echo(f"{depot}: {len(depots.releases(depot))} releases are left")


@app.command("current")
def current(
    release: Annotated[
        str | None, typer.Argument(metavar="RELEASE", help="Make this one current.")
    ] = None,
    *,
    depot: DepotFolder = depots.DEFAULT,
    allow_downgrade: AllowDowngrade = False,
    as_json: AsJson = False,
) -> None:
    """Print the current release, or switch to another one."""
    switched = release is not None and depots.switch(
        depot, release, allow_downgrade=allow_downgrade
    )
    name = depots.current(depot)
    if name is None:
        raise BundleError(f"{depot}: no release is current", "landbridge depot receive SOURCE")
    if as_json:
        typer.echo(json.dumps({"release": name, "switched": switched}, indent=2))
        return
    typer.echo(name)
    if switched:
        typer.echo(f"next: run {depot}/current/bootstrap.sh as root, then landbridge apply")


def _access(
    source: list[str], ca: Path | None, client_cert: Path | None, client_key: Path | None
) -> Access | None:
    """How the URL among the sources is reached; None where there is none."""
    urls = [url for url in source if url.startswith(SCHEMES)]
    if not urls:
        return None
    # Slow to import, and of no use to anything but a URL.
    from landbridge import access, stack  # noqa: PLC0415

    files = {"ca": ca, "client_cert": client_cert, "client_key": client_key}
    named = {key: str(file.absolute()) for key, file in files.items() if file}
    hosts = [urlsplit(url)._replace(path="").geturl() for url in urls]
    return access.Access([stack.Access(url=host, **named) for host in hosts])


def _print_received(depot: Path, received: Received) -> None:
    shared = f"{received.linked} from other releases, {megabytes(received.copied)} copied"
    what = "was here already" if received.present else f"{received.files} files, {shared}"
    typer.echo(f"{depot}: {received.release}: {what}")
    if received.switched:
        typer.echo(f"next: run {depot}/current/bootstrap.sh as root, then landbridge apply")


def _print_releases(depot: Path, found: list[Release]) -> None:
    if not found:
        typer.echo(f"{depot}: no releases")
        return
    # Slow to import, and no other verb draws a table.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("", "release", "signed")
    for heading in ("files", "size", "its own"):
        table.add_column(heading, justify="right")
    for release in found:
        signed = datetime.fromtimestamp(release.signed, UTC).strftime("%Y-%m-%d %H:%M UTC")
        table.add_row(
            "*" if release.current else "",
            release.name,
            signed if release.signed else "not signed",
            str(release.files),
            megabytes(release.size),
            megabytes(release.unique),
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
