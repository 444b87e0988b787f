"""`renv.lock`: what one pins, and one written for a lock's site library.

The format is renv's own (https://rstudio.github.io/renv/articles/lockfile.html).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from landbridge.errors import InputError

# A lock of a thousand packages has well below one of these.
LARGEST = 16 * 1024 * 1024
# What renv writes for packages of a repository; the second is what old versions wrote.
_CARRIED = ("Repository", "CRAN")
_MEND = "reinstall it from CRAN in the project, and run renv::snapshot()"
_NAME = re.compile(r"[A-Za-z]([A-Za-z0-9.]*[A-Za-z0-9])?")
_VERSION = re.compile(r"\d+([.-]\d+)*")


def pins(path: Path, shown: str = "") -> list[str]:
    """What a `renv.lock` pins, as a stack writes it (`glue ==1.7.0`), sorted.

    Args:
        path: the file.
        shown: its name for messages, by default the path.

    Raises:
        InputError: it cannot be read, is no renv.lock, or pins a package that no CRAN has;
            every such package is named.
    """
    shown = shown or str(path)
    packages = _packages(path, shown)
    faults, found = [], []
    for key, record in packages.items():
        fault = _fault(key, record)
        if fault:
            faults.append(f"{shown}: Packages.{_printable(key)}: {fault}")
        else:
            found.append(f"{key} =={record['Version']}")
    if faults:
        raise InputError("\n".join(faults), _MEND)
    return sorted(found)


def _packages(path: Path, shown: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{shown}: is too large for a renv.lock", "name a project's renv.lock")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"r.projects: {shown}: cannot be read: {error}",
            "name renv.lock files by their place relative to the stack",
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown}: is no JSON: {error}", "run renv::snapshot() anew") from error
    packages = data.get("Packages") if isinstance(data, dict) else None
    if not isinstance(packages, dict) or not isinstance(data.get("R"), dict):
        raise InputError(
            f"{shown}: is no renv.lock: it needs the keys R and Packages", "run renv::snapshot()"
        )
    return packages


def _fault(key: str, record: Any) -> str:
    """Why a record cannot be carried; empty if it can."""
    if not isinstance(record, dict):
        return "is no record of a package"
    name, version, source = (record.get(field) for field in ("Package", "Version", "Source"))
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name != key:
        return f"Package: {_printable(name)} is not the name that it should be"
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        return f"Version: {_printable(version)} is no version of a package"
    if source not in _CARRIED:
        return f"Source: {_printable(source)}: only packages of CRAN are carried"
    repository = record.get("Repository", "")
    if str(repository).lower().startswith("bioc"):
        return f"Repository: {_printable(repository)}: only packages of CRAN are carried"
    return ""


def _printable(value: Any) -> str:
    """A stranger's text, short and without control characters."""
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(c if c.isprintable() else "?" for c in text[:60])
