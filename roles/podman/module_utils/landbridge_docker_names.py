# SPDX-License-Identifier: Apache-2.0
"""Names of images, as Docker shortens them and Podman needs them."""

from __future__ import annotations

HUB = "docker.io"
NAMELESS = "<none>"


def qualified(name):
    """The full name: `nginx` is `docker.io/library/nginx:latest`.

    An id stays: it names an image that has no name.
    """
    if name.startswith("sha256:"):
        return name
    plain, at, digest = name.partition("@")
    first, slash, rest = plain.partition("/")
    if not slash:
        plain = f"{HUB}/library/{plain}"
    elif not ("." in first or ":" in first or first == "localhost"):
        plain = f"{HUB}/{plain}"
    elif first in (HUB, f"index.{HUB}"):
        plain = f"{HUB}/{rest if '/' in rest else f'library/{rest}'}"
    if not at and ":" not in plain.rpartition("/")[2]:
        plain += ":latest"
    # Podman refuses a tag beside a digest in some places; the digest says all.
    if at and ":" in plain.rpartition("/")[2]:
        plain = plain.rpartition(":")[0]
    return plain + at + digest


def domain(name):
    """The registry of a full name."""
    return qualified(name).partition("/")[0]
