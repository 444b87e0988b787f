"""The lab's one cache directory and the rule for what is in it.

Every expensive product is keyed by the content of its inputs, built under a temporary name and
renamed; a product of an older key is deleted. Deleting the cache costs time and nothing else.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache() -> Path:
    """`$LANDBRIDGE_LAB_CACHE`, else `landbridge-lab` in the user's cache directory; made."""
    given = os.environ.get("LANDBRIDGE_LAB_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(given) if given else Path(base) / "landbridge-lab"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def key(*inputs: str | Path) -> str:
    """12 hex digits that change when any input does; a Path stands for the file's content."""
    digest = hashlib.sha256()
    for item in inputs:
        data = item.read_bytes() if isinstance(item, Path) else item.encode()
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:12]


def product(name: str, inputs: str, make: Callable[[Path], None], keep: int = 0) -> Path:
    """The directory `<cache>/<name>/<inputs>`; made by `make(temporary directory)` if missing.

    Args:
        name: what it is, e.g. `root/el9`; siblings of an older key are deleted after a build.
        inputs: the key of everything that went in (see `key`).
        make: fills the directory it is given; if it raises, nothing is kept.
        keep: how many products of older keys stay, the newest ones.
    """
    final = cache() / name / inputs
    if final.is_dir():
        return final
    with locked(final.parent):
        if final.is_dir():  # made by another process meanwhile
            return final
        temporary = final.with_name(f".{inputs}.{os.getpid()}")
        temporary.mkdir()
        try:
            with stage(name):
                make(temporary)
            temporary.rename(final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        others = [path for path in final.parent.iterdir() if path != final]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for old in others[keep:]:
            shutil.rmtree(old, ignore_errors=True)
    return final


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time works in `folder`, made if missing; the lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Tell on stderr that `what` begins, and how many seconds it took."""
    print(f"lab: {what} ...", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    print(f"lab: {what}: {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
