"""`python -m tests.lab bundle`: the bundle of stacks/minimal.yml, made by `landbridge` itself."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from landbridge.errors import BundleError
from tests.lab import paths, upstreams

ROOT = Path(__file__).parents[2]
STACK = ROOT / "stacks" / "minimal.yml"
# All that goes into a bundle from this checkout: what builds it, and what its wheel carries.
CHECKOUT = ("pyproject.toml", "README.md", "LICENSE", "site.yml", "ansible.cfg", "src")
CHECKOUT += ("playbooks", "roles", "inventories", "tests/host", "stacks")

# Running nodes have older bundles mounted; they cost little, for bundles share their files.
KEEP = 3


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `bundle`."""
    parser = subparsers.add_parser("bundle", help="build the bundle (cached); print its directory")
    parser.set_defaults(run=lambda _: print(build()))


def build() -> Path:
    """The bundle's directory; built when the checkout or an upstream has changed since.

    Raises:
        BundleError: `landbridge bundle build` failed; its own message stands above.
    """
    inputs = [str(path) for path in upstreams.products().values()]
    key = paths.key(*inputs, *checkout_files())
    return paths.product("bundle", key, _make, keep=KEEP) / "bundle"


def checkout_files() -> list[Path]:
    """Every file under CHECKOUT, in a fixed order."""
    found: list[Path] = []
    for name in CHECKOUT:
        path = ROOT / name
        found += [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [path for path in found if "__pycache__" not in path.parts]


def _make(directory: Path) -> None:
    command = [Path(sys.executable).with_name("landbridge"), "bundle", "build", STACK]
    command += ["--output", directory / "bundle", "--cache", paths.cache() / "downloads"]
    # Not beside the stack: the upstreams' ports change, and the checkout stays as it is.
    command += ["--lock", directory / "minimal.lock"]
    with upstreams.served() as sources:
        # Our own standard output is the bundle's directory and nothing else.
        done = subprocess.run(
            [*command, "--sources", sources], cwd=ROOT, stdout=sys.stderr, check=False
        )
    if done.returncode:
        raise BundleError("the lab's bundle could not be built", "read the message above")
