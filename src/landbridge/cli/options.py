"""Options that several verbs share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="Keeps what was fetched, between runs."),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Default: policy.yml beside STACK, if any."),
]
LockFile = Annotated[
    Path | None,
    typer.Option("--lock", metavar="FILE", help="Default: STACK with the suffix .lock."),
]
Inventory = Annotated[
    Path | None,
    typer.Option("--inventory", "-i", metavar="PATH", help="Default: this very machine."),
]
Limit = Annotated[str | None, typer.Option(help="Only these hosts.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", metavar="FILE", help="The key's passphrase."),
]
BundleFolder = Annotated[Path, typer.Option("--output", metavar="DIR", help="The bundle's folder.")]


def default_cache() -> Path:
    """The user's cache folder for landbridge (XDG)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "landbridge"
