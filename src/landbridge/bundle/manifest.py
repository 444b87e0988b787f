"""`manifest.json`: sha256 and size of every other file of a bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from landbridge.errors import BundleError
from landbridge.files import sha256_of, write_file

NAME = "manifest.json"
FORMAT = 1
WORKERS = 4


class Entry(NamedTuple):
    """What is promised of a file: hex sha256, and bytes."""

    sha256: str
    size: int


def files_of(root: Path) -> list[str]:
    """Paths of all files of a bundle but the manifest, relative, sorted."""
    files = (path for path in root.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted({path.relative_to(root).as_posix() for path in files} - {NAME})


def describe(root: Path, paths: Iterable[str], known: Mapping[str, str]) -> dict[str, Entry]:
    """Hash files in parallel (hashlib works without Python's global lock).

    Args:
        root: the bundle.
        paths: relative paths.
        known: sha256 by path of files that need no reading, because the cache vouches for them.
    """

    def entry(path: str) -> Entry:
        file = root / path
        return Entry(known.get(path) or sha256_of(file), file.stat().st_size)

    listed = list(paths)
    with ThreadPoolExecutor(WORKERS) as pool:
        return dict(zip(listed, pool.map(entry, listed), strict=True))


def content_hash(entries: Mapping[str, Entry]) -> str:
    """12 hex digits for the content of these files and their names."""
    lines = (f"{entries[path].sha256}  {path}\n" for path in sorted(entries))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def write_manifest(root: Path, release: str, entries: Mapping[str, Entry]) -> None:
    """Write the manifest of a bundle."""
    files = {path: entries[path]._asdict() for path in sorted(entries)}
    data = {"format": FORMAT, "release": release, "files": files}
    write_file(root / NAME, json.dumps(data, indent=1) + "\n")


def read_manifest(root: Path) -> tuple[str, dict[str, Entry]]:
    """The release, and what is promised of each file.

    Raises:
        BundleError: there is no manifest, or it cannot be read.
    """
    path = root / NAME
    if not path.is_file():
        raise BundleError(f"{root}: no bundle here ({NAME} is missing)", "give a bundle's folder")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise BundleError(
                f"{path}: format {data['format']!r} is not known", "update landbridge"
            )
        files = {name: Entry(e["sha256"], e["size"]) for name, e in data["files"].items()}
        return str(data["release"]), files
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path}: damaged: {error!r}", "carry the bundle over again") from error
