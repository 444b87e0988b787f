"""`manifest.json`: sha256 and size of every other file of a bundle but the signatures."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from landbridge.errors import BundleError
from landbridge.files import sha256_of, write_file

NAME = "manifest.json"
CONTENT = "content.json"
FORMAT = 1
WORKERS = 4

_SIGNATURE = re.compile(r"manifest\.json\.asc|rpm/[^/]+/repodata/repomd\.xml\.asc")
# The release names a folder of a depot.
_RELEASE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Entry(NamedTuple):
    """What is promised of a file: hex sha256, and bytes."""

    sha256: str
    size: int


def is_release(name: object) -> bool:
    """Whether this can be the name of a release, and so of a folder of a depot."""
    return isinstance(name, str) and _RELEASE.fullmatch(name) is not None


def is_signature(path: str) -> bool:
    """Whether a path of a bundle is the place of a signature, which no manifest lists."""
    return _SIGNATURE.fullmatch(path) is not None


def files_of(root: Path) -> list[str]:
    """Paths of all files of a bundle but the manifest and the signatures, relative, sorted."""
    return sorted(path for path in all_files(root) if path != NAME and not is_signature(path))


def all_files(root: Path) -> Iterator[str]:
    """Paths of whatever is no folder, relative, in no order; links are not followed."""
    start = len(os.fspath(root)) + 1
    for folder, subfolders, files in os.walk(root):
        links = [name for name in subfolders if Path(folder, name).is_symlink()]
        yield from (f"{folder}/{name}"[start:] for name in [*files, *links])


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


def release_of(stack: str, entries: Mapping[str, Entry]) -> str:
    """The release of a stack's bundle with these files; `content.json` names it, so is left out."""
    named = {path: entry for path, entry in entries.items() if path != CONTENT}
    return f"{stack}-{content_hash(named)}"


def write_manifest(root: Path, release: str, entries: Mapping[str, Entry]) -> None:
    """Write the manifest of a bundle."""
    write_file(root / NAME, _text(release, entries))


def read_manifest(root: Path) -> tuple[str, dict[str, Entry]]:
    """The release, and what is promised of each file.

    Raises:
        BundleError: there is no manifest, or it cannot be read.
    """
    path = root / NAME
    if not path.is_file():
        raise BundleError(f"{root}: no bundle here ({NAME} is missing)", "give a bundle's folder")
    try:
        return parse(path.read_bytes(), path)
    except OSError as error:
        raise _damaged(path, error.strerror or "cannot be read") from error


def parse(data: bytes, place: Path | str) -> tuple[str, dict[str, Entry]]:
    """Read the bytes of a manifest; they must be exactly those that `write_manifest` writes.

    Args:
        data: the whole file.
        place: the file's name, for messages.

    Raises:
        BundleError: the bytes are no such manifest, or name a path outside the bundle.
    """
    try:
        fields = json.loads(data)
        if fields["format"] != FORMAT:
            raise BundleError(
                f"{place}: format {fields['format']!r} is not known", "update landbridge"
            )
        release = fields["release"]
        entries = {name: Entry(e["sha256"], e["size"]) for name, e in fields["files"].items()}
        fault = _fault(release, entries)
        # Repeated or unknown keys, another order, other spacing.
        if not fault and _text(release, entries).encode() != data:
            fault = "not as landbridge writes it"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(place, repr(error)) from error
    if fault:
        raise _damaged(place, fault)
    return release, entries


def _text(release: str, entries: Mapping[str, Entry]) -> str:
    files = {path: entries[path]._asdict() for path in sorted(entries)}
    data = {"format": FORMAT, "release": release, "files": files}
    return json.dumps(data, indent=1) + "\n"


def _fault(release: Any, entries: Mapping[str, Any]) -> str:
    """The first thing that no manifest may say, empty for none."""
    if not is_release(release):
        return f"release {release!r}"
    for path, (sha256, size) in entries.items():
        if not _is_inside(path) or path == NAME or is_signature(path):
            return f"path {path!r}"
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            return f"{path}: sha256 {sha256!r}"
        if type(size) is not int or size < 0:
            return f"{path}: size {size!r}"
    return ""


def _is_inside(path: str) -> bool:
    """Whether a path is relative, plain, of printable characters, and stays where it starts."""
    parts = PurePosixPath(path).parts
    return path == "/".join(parts) and path != "" and ".." not in parts and path.isprintable()


def _damaged(place: Path | str, what: str) -> BundleError:
    return BundleError(f"{place}: damaged: {what}", "carry the bundle over again")
