"""`build`: the RPM repositories and the nodes' images."""

from __future__ import annotations

import argparse
from typing import Any

from tests.lab import paths, podman, rpmrepo
from tests.lab.platforms import PLATFORMS, platform


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("build", help="RPM repositories and node images (cached)")
    parser.add_argument("--only", choices=list(PLATFORMS), help="one platform")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build what is missing, and print where it is."""
    names = [arguments.only] if arguments.only else list(PLATFORMS)
    for name in names:
        with paths.stage(f"build {name}"):
            print(rpmrepo.repository(platform(name)))
            print(podman.image(platform(name)))
    return 0
