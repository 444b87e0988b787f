"""`landbridge bundle sign` and `bundle verify`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from landbridge.bundle import sign as signing
from landbridge.bundle.verify import Verdict
from landbridge.bundle.verify import verify as verify_bundle
from landbridge.cli.options import AsJson, PassphraseFile
from landbridge.cli.progress import progress
from landbridge.stages import megabytes

Bundle = Annotated[Path, typer.Argument(metavar="DIR", help="The bundle's folder.")]
TrustedKeys = Annotated[
    list[Path] | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help=f"A public key to trust; may be repeated. Default: {signing.KEYS}/*.asc.",
    ),
]
AllowUnsigned = Annotated[
    bool,
    typer.Option("--allow-unsigned", help="Accept what no key signed, or no trusted one."),
]


def sign(
    bundle: Bundle,
    *,
    sign_key: Annotated[
        str,
        typer.Option(
            "--sign-key",
            metavar="KEY",
            help="A file with a secret key, or a fingerprint or user id that gpg knows.",
        ),
    ],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Sign a bundle, its repositories of RPMs too; good signatures by this key stay."""
    fingerprint = signing.sign(bundle, signing.SigningKey(sign_key, passphrase_file))
    typer.echo(f"{bundle}: signed by {fingerprint}")


def verify(
    bundle: Bundle,
    *,
    key: TrustedKeys = None,
    allow_unsigned: AllowUnsigned = False,
    as_json: AsJson = False,
) -> None:
    """Check a bundle's signature, then every file; exit code 1 names each that differs."""
    with progress(sys.stderr) as (_say, tell):
        verdict = verify_bundle(bundle, key or (), allow_unsigned=allow_unsigned, seen=tell)
    if as_json:
        typer.echo(json.dumps({"ok": verdict.ok, **asdict(verdict)}, indent=2))
    else:
        _print(bundle, verdict)
    if not verdict.ok:
        raise typer.Exit(1)


def _print(bundle: Path, verdict: Verdict) -> None:
    problems = verdict.problems()
    for line in problems:
        typer.echo(line, err=True)
    if verdict.mend:
        typer.echo(f"  mend: {verdict.mend}", err=True)
    signature = verdict.signature
    signer = f"by {signature.fingerprint}" if signature.state == "good" else signature.detail
    typer.echo(f"signature: {signature.state}, {signer}")
    result = "ok" if verdict.ok else f"{len(problems)} problems"
    size = f"{verdict.files} files, {megabytes(verdict.size)}"
    typer.echo(f"{bundle}: {verdict.release}: {result} ({size})")
