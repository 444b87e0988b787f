"""The two kinds of lab node, and which Debian packages stand in for which RHEL packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from landbridge.errors import InputError


@dataclass(frozen=True)
class Platform:
    """One Enterprise Linux release, and the Debian release whose payload imitates it."""

    name: str  # el9
    suite: str  # Debian's code name
    version: str  # RHEL's minor release, e.g. 9.4
    codename: str
    python: str  # the platform's python3 in the lab (RHEL's own differs)
    rhel_id_like: str

    @property
    def major(self) -> str:
        """RHEL's major release."""
        return self.version.split(".")[0]

    @property
    def target(self) -> str:
        """The name that bundles give this platform."""
        return f"{self.name}-x86_64"


PLATFORMS: dict[str, Platform] = {
    "el9": Platform("el9", "bookworm", "9.4", "Plow", "3.11", "fedora"),
    "el10": Platform("el10", "trixie", "10.0", "Coughlan", "3.13", "centos fedora"),
}


def platform(name: str) -> Platform:
    """The platform called `el9` or `el10` (or by its target name)."""
    try:
        return PLATFORMS[name.removesuffix("-x86_64")]
    except KeyError:
        raise InputError(
            f"no lab platform '{name}'", f"take one of {', '.join(PLATFORMS)}"
        ) from None


def words(name: str) -> list[str]:
    """The words of `tests/lab/data/<name>`, without its comments."""
    text = (Path(__file__).parent / "data" / name).read_text(encoding="utf-8")
    return [word for line in text.splitlines() if not line.startswith("#") for word in line.split()]


# Debian packages: what a node has from the start, and what the repository offers beyond that.
BASE = words("base.txt")
OFFERED = words("offered.txt")
