"""`landbridge bundle delta` and `bundle split`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from landbridge.bundle.delta import delta as make_delta
from landbridge.bundle.volumes import VolumesMade, parse_size
from landbridge.bundle.volumes import split as split_volumes
from landbridge.cli.options import AsJson
from landbridge.cli.progress import progress
from landbridge.stages import megabytes

_SIZE_HELP = "At most so many bytes each: 700M, 4G (of 1024), 4GB (of 1000)."


def delta(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The new bundle's folder.")],
    *,
    have: Annotated[
        list[Path],
        typer.Option(metavar="MANIFEST", help="manifest.json that the receiver has; repeatable."),
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="The delta's folder.")],
    volume_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help=f"Also split it, into DIR.volumes. {_SIZE_HELP}"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write only what the receiver of a bundle lacks."""
    size = parse_size(volume_size) if volume_size else None
    folder = output.absolute()
    made = make_delta(bundle, have, folder)
    parts = folder.with_name(f"{folder.name}.volumes")
    volumes = _split(folder, parts, size) if size else None
    if as_json:
        split_into = asdict(volumes) if volumes else None
        typer.echo(json.dumps({**asdict(made), "volumes": split_into}, indent=2))
        return
    typer.echo(f"{output}: {made.release}: {made.files} files, {megabytes(made.size)}")
    typer.echo(f"for receivers of {', '.join(made.bases)}")
    if volumes:
        _print(parts, volumes)


def split(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A bundle or a delta.")],
    *,
    volume_size: Annotated[str, typer.Option(metavar="SIZE", help=_SIZE_HELP)],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the volumes.")],
    as_json: AsJson = False,
) -> None:
    """Split a bundle or a delta into volumes for media, each with its checksum."""
    made = _split(source, output.absolute(), parse_size(volume_size))
    if as_json:
        typer.echo(json.dumps(asdict(made), indent=2))
        return
    _print(output, made)


def _split(source: Path, output: Path, size: int) -> VolumesMade:
    with progress(sys.stderr) as (_say, tell):
        return split_volumes(source, output, size, tell)


def _print(output: Path, made: VolumesMade) -> None:
    typer.echo(f"{output}: {made.release}: {len(made.volumes)} volumes, {megabytes(made.size)}")
