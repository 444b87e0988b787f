"""`authority`: a certificate authority of the lab's own, and certificates from it."""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Authority:
    """An authority whose files are in a folder."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """Who trusts it has this PEM file."""
        return self.folder / "ca.pem"

    @property
    def key(self) -> Path:
        """What it signs with."""
        return self.folder / "ca.key"

    def issue(self, *names: str) -> Path:
        """A PEM file with a certificate for names (as `DNS:hub` and `IP:127.0.0.1`) and its key."""
        file = self.folder / f"{names[0].rpartition(':')[2]}.pem"
        signed = ["-CA", str(self.certificate), "-CAkey", str(self.key)]
        extensions = [f"subjectAltName={','.join(names)}", "basicConstraints=critical,CA:FALSE"]
        added = [word for extension in extensions for word in ("-addext", extension)]
        key = file.with_suffix(".key")
        _request(file, key, file.stem, *signed, *added)
        with file.open("ab") as both:
            both.write(key.read_bytes())
        key.unlink()
        return file


def authority(folder: Path) -> Authority:
    """A new authority in an empty folder."""
    made = Authority(folder)
    extension = ("-addext", "keyUsage=critical,keyCertSign")
    _request(made.certificate, made.key, "Lab authority", *extension)
    return made


def register(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser("authority", help="make an authority and nodes' certificates")
    parser.add_argument("folder", type=Path, help="for ca.pem, and NAME.pem with its key")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    arguments.folder.mkdir(parents=True, exist_ok=True)
    made = authority(arguments.folder)
    for name in arguments.names:
        print(made.issue(f"DNS:{name}"))
    return 0


def _request(file: Path, key: Path, name: str, *options: str) -> None:
    """Let openssl make a key and a certificate of it."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    files = ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(file)]
    subprocess.run([*command, *files, *options], check=True, capture_output=True)
