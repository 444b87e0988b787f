"""One module for each ecosystem, all of one shape: `resolve` and `index`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from landbridge.access import Access
from landbridge.lock import Artifact, Kept, Lock, Part
from landbridge.stack import Sources, Stack


class Learner(Protocol):
    """Fetches what a source does not describe well enough to be locked, and remembers."""

    @property
    def access(self) -> Access:
        """How each source is reached: certificates, proxies, credentials."""

    def metadata(self, url: str) -> Path:
        """Fetch an index file that changes under its URL; unchanged, it does not travel again."""

    def recall(self, kind: str, key: str) -> str | None:
        """What was remembered; `kind` is a folder's name, `key` hexadecimal."""

    def remember(self, kind: str, key: str, value: str) -> None:
        """Keep a small fact between builds; forgetting it costs time and nothing else."""

    def learn(self, url: str, md5: str | None = None, sha256: str | None = None) -> Path:
        """Fetch `url` into the cache, check the hashes that are known, and return the file."""

    def head(self, url: str) -> tuple[int, str]:
        """Bytes of the file behind `url` and the day of its last change (`YYYY-MM-DD` or "").

        Raises:
            SourceError: the source does not tell without sending the file.
        """

    def has(self, sha256: str) -> bool:
        """Whether the file with this hash is in the cache."""

    def path(self, sha256: str) -> Path:
        """Where the file with this hash is or would be."""

    def store(self, file: Path) -> Path:
        """Move a file that was made here into the cache and return its place there."""

    def folder(self, name: str) -> Path:
        """A folder of the cache that an outside tool may use as its own."""


class Ecosystem(Protocol):
    """The shape of the modules beside this one."""

    def resolve(self, stack: Stack, learner: Learner, kept: Kept | None, /) -> Part:
        """Exactly which artifacts the stack's wishes come to.

        Args:
            stack: what is wanted, and where it comes from.
            learner: fetches what the sources' indexes do not tell.
            kept: an older lock, of which only what it names may change, and what that forces;
                without one everything is the newest that fits.

        Raises:
            InputError: something wanted does not exist at the sources.
            SourceError: a source cannot be read, or its packages contradict each other.
        """

    def index(self, root: Path, lock: Lock, learner: Learner, /) -> None:
        """Make the bundle at `root`, whose files are in place, a repository of this kind."""


class Maker(Protocol):
    """For artifacts that cannot be fetched from a URL as one file."""

    def __call__(self, artifact: Artifact, sources: Sources, learner: Learner, /) -> None:
        """Bring `artifact` into the cache; nothing happens if it is there.

        Raises:
            SourceError: the source has something else under the locked digest, or nothing.
            InputError: what is made here now differs from what was locked.
        """
