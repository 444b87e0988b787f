"""A certificate authority of the lab's own, and certificates from it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """An authority whose files are in a folder."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """Who trusts it has this PEM file."""
        return self.folder / "ca.pem"

    def issue(self, *names: str) -> Path:
        """A PEM file with a certificate for names (as `DNS:hub` and `IP:127.0.0.1`) and its key."""
        file = self.folder / f"{names[0].rpartition(':')[2]}.pem"
        signed = ["-CA", str(self.certificate), "-CAkey", str(self.certificate)]
        extensions = [f"subjectAltName={','.join(names)}", "basicConstraints=critical,CA:FALSE"]
        added = [word for extension in extensions for word in ("-addext", extension)]
        _request(file, file.stem, *signed, *added)
        return file


def authority(folder: Path) -> Authority:
    """A new authority in an empty folder."""
    made = Authority(folder)
    _request(made.certificate, "Lab authority", "-addext", "keyUsage=critical,keyCertSign")
    return made


def _request(file: Path, name: str, *options: str) -> None:
    """Let openssl make a key and a certificate of it, both in one file."""
    key = file.with_suffix(".key")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    files = ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(file)]
    subprocess.run([*command, *files, *options], check=True, capture_output=True)
    with file.open("ab") as both:
        both.write(key.read_bytes())
    key.unlink()
