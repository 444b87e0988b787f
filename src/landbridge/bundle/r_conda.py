"""conda's R in the root that R packages are compiled in: its environment, at its path on nodes."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import NamedTuple

from landbridge.bundle.r_root import for_all
from landbridge.ecosystems import conda
from landbridge.files import need_space
from landbridge.lock import Lock

# Packed packages only tell their size when they are here: what is usual, rounded up.
UNPACKED_FACTOR = 5
_ENVIRONMENTS = "opt/landbridge/envs"


class Environment(NamedTuple):
    """An environment that has an R.

    Attributes:
        name: of it.
        hash: of its explicit list, as role `conda` names the installation.
        files: its packages, relative to the channel.
        packed: bytes of these.
    """

    name: str
    hash: str
    files: tuple[str, ...]
    packed: int

    @property
    def prefix(self) -> str:
        """Where it is on nodes, and in the root."""
        return f"/{_ENVIRONMENTS}/{self.name}/{self.hash}"

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return UNPACKED_FACTOR * self.packed

    def place(self, root: Path) -> Path:
        """Its folder in a root."""
        return root / self.prefix.lstrip("/")


def environment_of(lock: Lock, name: str) -> Environment:
    """An environment of a lock."""
    files = lock.environments[name]
    sizes = {artifact.path: artifact.size for artifact in lock.of("conda")}
    packed = sum(sizes[f"{conda.CHANNEL}/{file}"] for file in files)
    text = conda.explicit_text(name, lock)
    return Environment(name, hashlib.sha256(text.encode()).hexdigest()[:12], tuple(files), packed)


def install(wanted: Environment, bundle: Path, root: Path) -> None:
    """Install an environment in a root, unless it is there; then older ones of its name go.

    Args:
        wanted: the environment.
        bundle: holds the channel.
        root: the root's folder.

    Raises:
        LandbridgeError: py-rattler failed, or space is short.
    """
    final = wanted.place(root)
    if final.is_dir():
        return
    for_all(root, str(final.parent.relative_to(root)))
    for other in final.parent.iterdir():
        shutil.rmtree(other)
    new = final.with_name(f".{final.name}.new")
    new.mkdir()
    need_space(new, wanted.size, f"the environment {wanted.name}")
    channel = bundle / conda.CHANNEL
    # Its files are hard links to those of the packages' cache, which goes with the folder.
    conda.install(channel, wanted.files, new / "installed", wanted.prefix, new / "cache")
    (new / "installed").rename(final)
    shutil.rmtree(new)
