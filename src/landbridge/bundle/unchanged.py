"""Was this bundle built from the same before, and did nobody touch it since?

Nothing is hashed: a file of the size, time of change and inode that a build left has the content
that it left (as `make` and `git status` reckon).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import landbridge
from landbridge.ecosystems import Learner

_KIND = "builds"


def inputs_of(*contents: bytes | str) -> str:
    """A hash over what a bundle is built from, Landbridge's own files included."""
    digest = hashlib.sha256()
    for content in (*contents, *_own_files()):
        data = content.encode() if isinstance(content, str) else content
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()


def recall(output: Path, inputs: str, learner: Learner) -> dict[str, Any] | None:
    """What was remembered of the bundle at `output`; None if anything is different now.

    Args:
        output: the bundle's folder.
        inputs: see `inputs_of`.
        learner: keeps what is remembered.
    """
    text = learner.recall(_KIND, _key(output))
    if text is None or not output.is_dir():
        return None
    known = json.loads(text)
    if known["inputs"] != inputs or known["files"] != states(output):
        return None
    facts: dict[str, Any] = known["facts"]
    return facts


def remember(output: Path, inputs: str, facts: dict[str, Any], learner: Learner) -> None:
    """Keep the state of every file of the bundle, and `facts` of it, for the next build."""
    value = {"inputs": inputs, "facts": facts, "files": states(output)}
    learner.remember(_KIND, _key(output), json.dumps(value))


def states(root: Path) -> dict[str, list[int]]:
    """Size, time of change in nanoseconds and inode of each file by its relative path."""
    return {
        os.path.relpath(entry.path, root): [state.st_size, state.st_mtime_ns, state.st_ino]
        for entry in _files(root)
        for state in [entry.stat(follow_symlinks=False)]
    }


def _files(folder: Path | str) -> Iterable[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                yield entry


def _own_files() -> list[str]:
    """The state of the code that builds; a checkout changes without a new version."""
    package = Path(landbridge.__file__).parent
    return [
        f"{path} {state[:2]}"
        for path, state in sorted(states(package).items())
        if "__pycache__" not in path
    ]


def _key(output: Path) -> str:
    return hashlib.sha256(str(output.absolute()).encode()).hexdigest()
