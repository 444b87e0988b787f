"""`python -m tests.lab upstreams build|serve`: the repositories that bundles are built from."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from landbridge.errors import InputError
from tests.lab import paths, rpmrepo, upstream_conda, upstream_cran, upstream_images
from tests.lab.platforms import PLATFORMS
from tests.lab.serve import serve


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `upstreams`."""
    parser = subparsers.add_parser("upstreams", help="repositories that bundles are built from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="build what is missing (cached)")
    build.set_defaults(run=lambda _: run_build())
    run = commands.add_parser("serve", help="run a command while they are served on loopback")
    run.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="-- COMMAND",
        help="{sources} is replaced by the sources file, also in LANDBRIDGE_SOURCES",
    )
    run.set_defaults(run=lambda arguments: run_serve(arguments.command))


def products() -> dict[str, Path]:
    """Every upstream's directory by name, built if missing: conda, cran, images, rpm-<target>."""
    makers: dict[str, Callable[[], Path]] = {
        "conda": upstream_conda.channel,
        "cran": upstream_cran.mirror,
        "images": upstream_images.storage,
    }
    for platform in PLATFORMS.values():
        makers[f"rpm-{platform.target}"] = partial(rpmrepo.repository, platform)
    return {name: make() for name, make in makers.items()}


def upstream_names() -> list[str]:
    """What names every upstream's content: their places in the cache, which hold their keys."""
    return sorted(str(path.relative_to(paths.cache())) for path in products().values())


@contextlib.contextmanager
def served() -> Iterator[Path]:
    """Serve all upstreams on loopback until the block ends; yields the sources file."""
    folders = products()
    images = folders.pop("images")
    rpm = {}
    for platform in PLATFORMS.values():
        key, name = rpmrepo.key_file(platform), f"rpm-{platform.target}"
        folders[f"keys-{platform.target}"] = key.parent
        rpm[platform.target] = (name, f"keys-{platform.target}/{key.name}")
    with serve(folders, images, rpm) as sources:
        yield sources


def run_build() -> int:
    """Build every upstream and print where each is."""
    for name, path in products().items():
        print(f"{name}\t{path}")
    return 0


def run_serve(command: list[str]) -> int:
    """Run `command` while the upstreams are served; returns its exit code."""
    # A terminated process would leave the registry behind: end by the ordinary way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    words = command[1:] if command[:1] == ["--"] else command
    if not words:
        raise InputError("no command is given", "python -m tests.lab upstreams serve -- COMMAND")
    with served() as sources:
        filled = [word.replace("{sources}", str(sources)) for word in words]
        environment: dict[str, Any] = {**os.environ, "LANDBRIDGE_SOURCES": str(sources)}
        return subprocess.run(filled, env=environment, check=False).returncode
