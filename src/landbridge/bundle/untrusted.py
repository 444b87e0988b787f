"""What came on a medium: no link in it is followed, no number in it believed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from landbridge.errors import BundleError

# A manifest of a million files stays below it.
LARGEST_HEAD = 256 << 20


def open_file(root: Path, path: str) -> BinaryIO:
    """Open a regular file below `root`; no symbolic link on the way is followed.

    Raises:
        BundleError: the path leads elsewhere, or is not a regular file.
        OSError: it cannot be opened.
    """
    *folders, name = path.split("/")
    if not {"", ".", ".."}.isdisjoint((*folders, name)):
        raise BundleError(f"{root}: {path!r}: not a path inside it", _DISTRUST)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in folders:
            above = folder
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            folder = os.open(part, flags, dir_fd=above)
            os.close(above)
        # A named pipe must not keep us waiting.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.fdopen(os.open(name, flags, dir_fd=folder), "rb", buffering=0)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise BundleError(f"{root / path}: not a regular file", _DISTRUST)
    return cast(BinaryIO, file)


def read_file(root: Path, path: str, limit: int = LARGEST_HEAD) -> bytes:
    """The content of a small file below `root`.

    Raises:
        BundleError: see `open_file`; or longer than `limit` bytes.
        OSError: it cannot be read.
    """
    with open_file(root, path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise BundleError(f"{root / path}: {size} bytes, at most {limit} expected", _DISTRUST)
        data = b""
        while chunk := file.read(limit + 1 - len(data)):
            data += chunk
            if len(data) > limit:
                raise BundleError(f"{root / path}: grows while it is read", _DISTRUST)
    return data


def read_json(data: bytes, origin: str, known_format: int) -> Mapping[str, Any]:
    """A JSON object of a known format.

    Raises:
        BundleError: it is none.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{origin}: damaged: {error}", "carry it over again") from error
    shown = found.get("format") if isinstance(found, dict) else None
    if type(shown) is not int or shown != known_format:
        raise BundleError(f"{origin}: format {shown!r} is not known", "update landbridge")
    return cast(Mapping[str, Any], found)


def strings_of(value: object, origin: str) -> list[str]:
    """A list of strings.

    Raises:
        BundleError: something else.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BundleError(f"{origin}: {value!r:.80}: no list of names", _DISTRUST)
    return value


_DISTRUST = "do not use this medium before you know who wrote it"
