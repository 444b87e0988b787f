"""One module for each ecosystem, all of one shape: `resolve` and `index`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from landbridge.lock import Lock, Part
from landbridge.stack import Stack


class Learner(Protocol):
    """Fetches what a source does not describe well enough to be locked."""

    def learn(self, url: str, md5: str | None = None, sha256: str | None = None) -> Path:
        """Fetch `url` into the cache, check the hashes that are known, and return the file."""

    def store(self, file: Path) -> Path:
        """Move a file that was made here into the cache and return its place there."""

    def folder(self, name: str) -> Path:
        """A folder of the cache that an outside tool may use as its own."""


class Ecosystem(Protocol):
    """The shape of the modules beside this one."""

    def resolve(self, stack: Stack, learner: Learner) -> Part:
        """Exactly which artifacts the stack's wishes come to.

        Raises:
            InputError: something wanted does not exist at the sources.
            SourceError: a source cannot be read, or its packages contradict each other.
        """

    def index(self, root: Path, lock: Lock, learner: Learner, /) -> None:
        """Make the bundle at `root`, whose files are in place, a repository of this kind."""
