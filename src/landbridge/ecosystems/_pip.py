"""Asks pip what it would install on a node: its installation report (pip's own JSON)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from landbridge.errors import InputError, LandbridgeError, SourceError
from landbridge.files import scratch, write_file
from landbridge.process import run, tail
from landbridge.targets import Platform

# The glibc minors that wheels were ever tagged for, newest first; older names come last.
_MANYLINUX_MINORS = (39, 38, 37, 36, 35, 34, 31, 28, 27, 26, 24, 17, 12, 5)
_SHORT_LICENSE = 80


class ConflictError(InputError):
    """No versions fulfil all requirements (and pins) together."""


class Item(NamedTuple):
    """One file that pip would install.

    Attributes:
        name: the project's canonical name.
        version: its version.
        url: where the file is, without credentials.
        sha256: hex digest, empty where the index does not tell.
        size: bytes, 0 where the index does not tell.
        released: day of its upload, empty where the index does not tell.
        license: as its metadata says.
        requires: its requirements (`Requires-Dist`), those of extras left out.
        is_wheel: whether it is a wheel, not a source.
    """

    name: str
    version: str
    url: str
    sha256: str
    size: int
    released: str
    license: str
    requires: tuple[str, ...]
    is_wheel: bool

    @property
    def file(self) -> str:
        """Name of the file."""
        return unquote(urlsplit(self.url).path.rsplit("/", 1)[-1])


def canonical(name: str) -> str:
    """A project's one name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def project(requirement: str) -> str:
    """The canonical name of the project that a requirement is for; empty if it has none."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return canonical(match[0]) if match else ""


def report(
    wanted: Sequence[str | Path],
    python: str,
    platform: Platform,
    *,
    pins: Mapping[str, str] = MappingProxyType({}),
    sdists: Collection[str] = (),
) -> list[Item]:
    """What pip would install for one Python version on one platform.

    Args:
        wanted: requirements, or paths of wheels.
        python: `3.12`, say.
        platform: the oldest node to serve.
        pins: the one version that a project may have, by its name.
        sdists: canonical names of projects that may come as their source.

    Raises:
        ConflictError: nothing fulfils the requirements for this Python.
        SourceError: an index cannot be read.
    """
    helper = Path(__file__).with_name("_pip_for_target.py")
    with scratch() as folder:
        constraints, answer = folder / "constraints.txt", folder / "report.json"
        write_file(constraints, "".join(f"{n}=={v}\n" for n, v in sorted(pins.items())))
        options = ["--dry-run", "--ignore-installed", "--only-binary=:all:", "--no-input"]
        options += ["--python-version", python, "--implementation", "cp"]
        options += [word for tag in _platform_tags(platform) for word in ("--platform", tag)]
        options += ["--constraint", str(constraints), "--report", str(answer)]
        options += ["--target", str(folder / "nowhere")]
        allowed = ",".join(sorted(sdists))
        command = [sys.executable, helper, python, allowed, "install", *options, *wanted]
        done = run(command, package="pip", check=False)
        if not done.returncode:
            return _items(json.loads(answer.read_text(encoding="utf-8")), python)
    message = f"pypi, Python {python}: {_errors(tail(done, 200))}"
    if "No matching distribution" in message or "conflicting dependencies" in message:
        raise ConflictError(message, "change the requirement, or add wheels for this Python")
    raise SourceError(message, "check pip's configuration and the index behind it")


def _items(answer: dict[str, Any], python: str) -> list[Item]:
    if answer["environment"]["python_version"] != python:
        raise LandbridgeError(
            f"pip {answer['pip_version']} evaluates markers in a way unknown here",
            "install pip 26.3 beside landbridge",
        )
    return [_item(entry) for entry in answer["install"]]


def _item(entry: dict[str, Any]) -> Item:
    metadata, source = entry["metadata"], entry["download_info"]
    url = _without_credentials(source["url"])
    return Item(
        name=canonical(metadata["name"]),
        version=metadata["version"],
        url=url,
        sha256=source.get("archive_info", {}).get("hashes", {}).get("sha256", ""),
        size=entry["index"].get("size", 0),
        released=entry["index"].get("upload-time", "")[:10],
        license=_license(metadata),
        requires=tuple(r for r in metadata.get("requires_dist", []) if "extra ==" not in r),
        is_wheel=urlsplit(url).path.endswith(".whl"),
    )


def _without_credentials(url: str) -> str:
    """The URL as the lock may hold it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host, fragment=""))


def _license(metadata: dict[str, Any]) -> str:
    """The expression, else the free text where it is a name, else the classifiers."""
    expression: str = metadata.get("license_expression", "")
    text: str = metadata.get("license", "").strip()
    if expression:
        return expression
    if text and text.upper() != "UNKNOWN" and len(text) <= _SHORT_LICENSE and "\n" not in text:
        return text
    classifiers = [c for c in metadata.get("classifier", []) if c.startswith("License :: ")]
    return ", ".join(sorted(c.rsplit(" :: ", 1)[-1] for c in classifiers))


def _platform_tags(platform: Platform) -> list[str]:
    minors = [minor for minor in _MANYLINUX_MINORS if minor <= platform.glibc[1]]
    tags = [f"manylinux_2_{minor}_{platform.arch}" for minor in minors]
    # pip expands this one to manylinux2010 and manylinux1 by itself.
    return [*tags, f"manylinux2014_{platform.arch}", f"linux_{platform.arch}"]


def _errors(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("ERROR")]
    return "\n".join(lines) or text
