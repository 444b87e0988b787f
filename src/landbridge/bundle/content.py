"""`content.json`: what a bundle carries, as the roles want to know it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landbridge.bundle import r_content, r_tree, toolkit
from landbridge.bundle.manifest import Entry
from landbridge.bundle.r_packages import is_of_site
from landbridge.ecosystems import Learner, conda, oci, rpm
from landbridge.lock import Lock
from landbridge.stack import Stack
from landbridge.targets import PLATFORMS, lowest

NAME = "content.json"
# Not known before the node has unpacked or compiled them: what is usual, rounded up.
R_FACTOR = 6
IMAGE_FACTOR = 3
_MEASURED = "unpacked"


def content(  # noqa: PLR0917 - one argument for each thing that it describes
    root: Path,
    stack: Stack,
    lock: Lock,
    release: str,
    files: dict[str, Entry],
    learner: Learner,
) -> str:
    """The JSON text.

    Args:
        root: the assembled and indexed bundle.
        stack: what was wanted.
        lock: what is in it.
        release: the bundle's release.
        files: every file but this one and the manifest.
        learner: remembers how large packages are once they are unpacked.
    """
    hashes = {path: entry.sha256 for path, entry in files.items()}
    data = {
        "format": 1,
        "release": release,
        "targets": {target: _target(root, lock, target) for target in lock.targets},
        "rpm_keys": [key.path for key in lock.of("rpm-key")],
        "conda": {"environments": _environments(stack, lock)},
        "r": r_content.section(root, stack, lock),
        "images": [{"name": n, "digest": d} for n, d in sorted(oci.digests(root).items())],
        "toolkit": {"id": toolkit.toolkit_id(hashes)},
        "installed_bytes": _installed_bytes(root, lock, hashes, learner),
    }
    return json.dumps(data, indent=1) + "\n"


def _target(root: Path, lock: Lock, target: str) -> dict[str, str | None]:
    path = f"rpm/{target}"
    return {
        "rpm": path if (root / path).is_dir() else None,
        "python": rpm.interpreter(lock, target),
        "conda_subdir": PLATFORMS[target].conda_subdir,
    }


def _environments(stack: Stack, lock: Lock) -> list[dict[str, Any]]:
    subdir = lowest(lock.targets).conda_subdir
    return [
        {
            "name": name,
            "lock": {subdir: conda.explicit_list(name, subdir)},
            "kernel": stack.conda.environments[name].kernel,
        }
        for name in lock.environments
    ]


def _installed_bytes(
    root: Path, lock: Lock, hashes: Mapping[str, str], learner: Learner
) -> dict[str, Any]:
    rpms = lock.of("rpm")
    return {
        "conda": _conda_bytes(root, lock, learner),
        "toolkit": _toolkit_bytes(root, lock, learner),
        "rpm": {t: sum(a.installed_size for a in rpms if t in a.targets) for t in lock.targets},
        "r": _r_bytes(root, lock, hashes, learner),
        "images": IMAGE_FACTOR * sum(artifact.size for artifact in lock.of("oci")),
    }


def _conda_bytes(root: Path, lock: Lock, learner: Learner) -> int:
    """Bytes of all packages unpacked once; a package is read for that once in its life."""
    artifacts, key = lock.of("conda"), _key("conda")
    known: dict[str, int] = json.loads(learner.recall(_MEASURED, key) or "{}")
    new = [artifact for artifact in artifacts if artifact.sha256 not in known]
    if new:
        sizes = conda.unpacked_bytes([root / artifact.path for artifact in new])
        known |= {a.sha256: size for a, size in zip(new, sizes, strict=True)}
        learner.remember(_MEASURED, key, json.dumps(known))
    return sum(known[artifact.sha256] for artifact in artifacts)


def _r_bytes(root: Path, lock: Lock, hashes: Mapping[str, str], learner: Learner) -> int:
    """Bytes of the largest site library: measured where it is compiled, else what is usual."""
    site = [artifact for artifact in lock.of("cran") if is_of_site(artifact)]
    sizes = []
    for r in r_content.installations(lock):
        paths = [path for a in site if (path := f"{r.path}/src/contrib/{a.file}") in hashes]
        key = _key("r", *(f"{hashes[path]} {path}" for path in paths))
        known = learner.recall(_MEASURED, key)
        if known is None:
            known = str(sum(r_tree.unpacked_bytes(root / path) for path in paths))
            learner.remember(_MEASURED, key, known)
        sizes.append(int(known))
    return max(sizes, default=0) or R_FACTOR * sum(artifact.size for artifact in site)


def _toolkit_bytes(root: Path, lock: Lock, learner: Learner) -> int:
    """Bytes of the toolkit on a node, measured once for each set of its files."""
    artifacts = lock.of("toolkit", "collection")
    key = _key(*(f"{a.sha256} {a.path} {a.targets}" for a in artifacts))
    known = learner.recall(_MEASURED, key)
    if known is None:
        known = str(toolkit.unpacked_bytes(root, lock))
        learner.remember(_MEASURED, key, known)
    return int(known)


def _key(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()
