"""Debian packages that nodes get unpacked, of any suite: fetched by apt, installed nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab import debian, paths

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def unpack(suite: str, packages: list[str], to: Path) -> None:
    """Unpack `packages` of `suite`, without what they depend on, into the folder `to`."""
    for deb in sorted(fetch(suite, packages).iterdir()):
        subprocess.run(["dpkg-deb", "--extract", deb, to], check=True)


def fetch(suite: str, packages: list[str], *, closure: bool = False) -> Path:
    """A folder with the `.deb` files of `packages`, checked against the archive's signature.

    Args:
        suite: Debian's code name.
        packages: names.
        closure: also what they depend on.
    """
    mirror = debian.mirror()
    inputs = paths.key(Path(__file__), mirror, suite, *sorted(packages))
    return paths.product(
        f"debs-of/{suite}-{'-'.join(sorted(packages))}{'-closure' if closure else ''}",
        inputs,
        lambda to: _fetch(mirror, suite, packages, to, closure),
    )


def _fetch(mirror: str, suite: str, packages: list[str], to: Path, closure: bool) -> None:
    """Let apt do it, with a state of its own: the machine's knows another suite."""
    state = to / ".apt"
    for name in ("lists/partial", "archives/partial", "parts"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [signed-by={_KEYRING}] {mirror} {suite} main\n")
    options = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": state / "parts",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    apt = ["apt-get", "--quiet", "--quiet"]
    apt += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    subprocess.run([*apt, "update"], check=True, stdout=subprocess.DEVNULL)
    if closure:
        install = [*apt, "--yes", "--no-install-recommends", "--download-only", "install"]
        subprocess.run([*install, *packages], check=True, stdout=subprocess.DEVNULL)
        for deb in (state / "archives").glob("*.deb"):
            deb.rename(to / deb.name)
    else:
        subprocess.run([*apt, "download", *packages], check=True, cwd=to, stdout=subprocess.DEVNULL)
    subprocess.run(["rm", "-r", state], check=True)
