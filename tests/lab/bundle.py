"""`python -m tests.lab bundle [STACK]`: bundles of the lab's stacks, made by `landbridge` itself.

`standard` is what every scenario runs on. A stack of `tests/lab/stacks` is for the one scenario
that is called after it. R packages are compiled for all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from landbridge.errors import BundleError
from tests.lab import paths, upstreams

ROOT = Path(__file__).parents[2]
# The thinnest whole stack, for tests that build bundles of their own.
STACK = ROOT / "stacks" / "minimal.yml"
LAB_STACKS = Path(__file__).parent / "stacks"
# Stacks by name.
STACKS = {
    "standard": ROOT / "stacks" / "standard.yml",
    **{path.stem: path for path in sorted(LAB_STACKS.glob("*.yml"))},
}
OPTIONS = ("--r-binaries",)
# All that goes into a bundle from this checkout: what builds it, and what its wheel carries.
CHECKOUT = ("pyproject.toml", "README.md", "LICENSE", "site.yml", "ansible.cfg", "src")
CHECKOUT += ("playbooks", "roles", "inventories", "tests/host", "stacks", "docs")

OWNER = "Landbridge lab's releases (throw-away key) <release@landbridge.invalid>"

# Running nodes have older bundles mounted; they cost little, for bundles share their files.
KEEP = 3


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `bundle`."""
    parser = subparsers.add_parser("bundle", help="build the bundle (cached); print its directory")
    parser.add_argument("stack", nargs="?", choices=list(STACKS), default="standard")
    parser.add_argument("--key", action="store_true", help="print its public key's file instead")
    parser.set_defaults(
        run=lambda options: print(public_key() if options.key else build(options.stack))
    )


def build(name: str = "standard") -> Path:
    """The directory of a stack's bundle; built when the checkout or an upstream has changed since.

    Args:
        name: one of `STACKS`.

    Raises:
        BundleError: `landbridge bundle build` failed; its own message stands above.
    """
    stack = STACKS[name]
    inputs = [str(path) for path in upstreams.products().values()]
    key = paths.key(*inputs, secret_key().parent.name, stack, *OPTIONS, *checkout_files())
    kind = "bundle" if name == "standard" else f"bundle-{name}"
    return paths.product(kind, key, partial(_make, stack), keep=KEEP) / "bundle"


def secret_key() -> Path:
    """The armored key that signs the lab's bundles; made once per cache, without a passphrase."""
    return paths.product("release-key", paths.key(OWNER), _make_key) / "secret.asc"


def public_key() -> Path:
    """The armored public half, which the lab's nodes trust."""
    return secret_key().with_name("public.asc")


def checkout_files() -> list[Path]:
    """Every file under CHECKOUT, in a fixed order."""
    found: list[Path] = []
    for name in CHECKOUT:
        path = ROOT / name
        found += [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [path for path in found if "__pycache__" not in path.parts]


def _make(stack: Path, directory: Path) -> None:
    command = [Path(sys.executable).with_name("landbridge"), "bundle", "build", stack, *OPTIONS]
    command += ["--output", directory / "bundle", "--cache", paths.cache() / "downloads"]
    # Not beside the stack: the upstreams' ports change, and the checkout stays as it is.
    command += ["--lock", directory / f"{stack.stem}.lock", "--sign-key", secret_key()]
    with upstreams.served() as sources:
        # Our own standard output is the bundle's directory and nothing else.
        done = subprocess.run(
            [*command, "--sources", sources], cwd=ROOT, stdout=sys.stderr, check=False
        )
    if done.returncode:
        raise BundleError("the lab's bundle could not be built", "read the message above")


def _make_key(directory: Path) -> None:
    # A socket's path is at most 107 bytes long, so the keyring is not in the cache.
    with tempfile.TemporaryDirectory() as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--pinentry-mode=loopback", "--passphrase", ""]
        try:
            _run(*gpg, "--quick-generate-key", OWNER, "rsa3072", "sign", "never")
            for kind, what in (("secret", "--export-secret-keys"), ("public", "--export")):
                _run(*gpg, "--armor", "--output", directory / f"{kind}.asc", what)
        finally:
            _run("gpgconf", "--homedir", home, "--kill", "all")


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
