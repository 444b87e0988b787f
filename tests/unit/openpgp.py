"""Throw-away OpenPGP keys and signatures, made by the real gpg."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Seconds since 1970 of 2020-01-01; a key of that day that lives a year has long expired.
EARLY = 1577836800
DAY = 86400


@dataclass(frozen=True)
class Keys:
    """A folder of keys; every key is known by its owner's name."""

    home: Path

    def make(self, owner: str, lives: str = "never", at: int = EARLY) -> None:
        """Make a key of `owner` that was born at `at` (seconds since 1970)."""
        self._gpg("--quick-generate-key", owner, "rsa3072", "sign", lives, at=at)

    def public(self, owner: str) -> str:
        """The armored public key."""
        return self._gpg("--armor", "--export", f"={owner}").decode()

    def fingerprint(self, owner: str) -> str:
        """The key's name for programs."""
        listed = self._gpg("--with-colons", "--list-keys", f"={owner}").decode().splitlines()
        return next(line.split(":")[9] for line in listed if line.startswith("fpr:"))

    def sign(self, owner: str, data: Path, at: int, *more: str) -> Path:
        """Write a detached, armored signature beside `data`, made at `at`, with more options."""
        signature = data.with_name(f"{data.name}.asc")
        options = ("--armor", "--yes", "--local-user", f"={owner}", "--output", signature)
        self._gpg(*options, *more, "--detach-sign", data, at=at)
        return signature

    def _gpg(self, *words: str | Path, at: int | None = None) -> bytes:
        command: list[str | Path] = ["gpg", "--homedir", self.home, "--batch", "--quiet"]
        command += ["--pinentry-mode=loopback", "--passphrase", ""]
        clock = [] if at is None else [f"--faked-system-time={at}"]
        done = subprocess.run([*command, *clock, *words], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@contextmanager
def keys(home: Path) -> Iterator[Keys]:
    """An empty folder of keys; its agent ends with the block.

    The folder's path must be short: the agent listens on a socket in it.
    """
    home.mkdir(mode=0o700)
    try:
        yield Keys(home)
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
