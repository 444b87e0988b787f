"""What is known of each kind of node before any node is seen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Platform(NamedTuple):
    """The floor that every node of a target offers.

    Attributes:
        major: Enterprise Linux major release.
        arch: machine architecture as rpm and uname name it.
        glibc: (major, minor) of the C library, the same for the release's whole life.
        kernel: version of the release's first kernel.
        microarch: CPU baseline as archspec names it.
        conda_subdir: conda's name of the platform.
    """

    major: int
    arch: str
    glibc: tuple[int, int]
    kernel: str
    microarch: str
    conda_subdir: str


PLATFORMS: dict[str, Platform] = {
    "el9-x86_64": Platform(9, "x86_64", (2, 34), "5.14", "x86_64_v2", "linux-64"),
    "el10-x86_64": Platform(10, "x86_64", (2, 39), "6.12", "x86_64_v3", "linux-64"),
}


def lowest(targets: Iterable[str]) -> Platform:
    """The oldest platform of `targets`: what runs on it runs on all of them."""
    return min((PLATFORMS[target] for target in targets), key=lambda platform: platform.major)
