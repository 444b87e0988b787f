"""`cran/binaries/` of a bundle: R packages compiled here, for each target and its R."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from landbridge.bundle.r_compile import compiled
from landbridge.bundle.r_packages import Package, stanza
from landbridge.bundle.r_work import Result, Work, work_of
from landbridge.ecosystems import Learner
from landbridge.ecosystems._cran_index import write_index
from landbridge.files import link
from landbridge.lock import Lock
from landbridge.stages import Say


class Binary(NamedTuple):
    """A compiled package in the bundle.

    Attributes:
        path: its place in the bundle.
        sha256: hex digest of it.
        source: the package's source.
        target: for which kind of node.
        r_version: for which R.
    """

    path: str
    sha256: str
    source: Package
    target: str
    r_version: str


def make(root: Path, lock: Lock, learner: Learner, say: Say) -> list[Binary]:
    """Compile what is missing, and write `cran/binaries/` of a bundle.

    Args:
        root: the bundle, whose RPMs are in place and indexed.
        lock: what is in it.
        learner: keeps results.
        say: takes one line for each package.

    Raises:
        InputError: see `work_of`.
        SourceError: see `compiled`, and LandbridgeError.
    """
    made: list[Binary] = []
    for work in work_of(lock, learner):
        made += _place(root, work, compiled(work, root, learner, say), learner)
    return made


def _place(
    root: Path, work: Work, results: Mapping[str, Result], learner: Learner
) -> Iterator[Binary]:
    """Link the results into the bundle, and write their index."""
    contrib = f"{work.r.path}/src/contrib"
    stanzas = []
    for name in sorted(results):
        package, result = work.packages[name], results[name]
        path = f"{contrib}/{package.artifact.file}"
        link(learner.path(result.sha256), root / path)
        stanzas.append(stanza(package, result.md5, result.built))
        yield Binary(path, result.sha256, package, work.r.target, work.r.version)
    write_index(root / contrib, stanzas)
