"""Is a bundle whole, and who says so? Signatures, then every file against the manifest."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from landbridge.bundle import sbom
from landbridge.bundle.manifest import (
    CONTENT,
    NAME,
    WORKERS,
    Entry,
    all_files,
    is_signature,
    read_manifest,
    release_of,
)
from landbridge.bundle.sign import MENDS, SIGNATURE, Signature, check, signatures_of, trusted_keys

# Takes bytes checked since the last call, and bytes in all.
Seen = Callable[[int, int], None]


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a bundle; nothing listed means nothing.

    Attributes:
        release: the bundle's release.
        files: number of files that the manifest promises.
        size: bytes that the manifest promises.
        signature: what became of checking the manifest's signature.
        bad: files with other content than promised or signed, each with what differs.
        missing: promised files that are not there.
        extra: files that nobody promised.
        sbom: what the SBOM says otherwise than the manifest.
    """

    release: str
    files: int
    size: int
    signature: Signature
    bad: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    sbom: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the bundle is what its manifest says and whom it must be signed by."""
        return not self.problems()

    def problems(self) -> list[str]:
        """One line for each thing that is wrong."""
        return [
            *(f"bad      {path}: {fault}" for path, fault in self.bad.items()),
            *(f"missing  {path}" for path in self.missing),
            *(f"extra    {path}" for path in self.extra),
            *(f"bad      {sbom.NAME}: {fault}" for fault in self.sbom),
        ]

    @property
    def mend(self) -> str:
        """What to do about the problems; empty where there are none."""
        named = {*self.bad, *self.missing, *self.extra}
        if SIGNATURE in named and all(is_signature(path) for path in named) and not self.sbom:
            return MENDS[self.signature.state]
        return "" if self.ok else "carry the bundle over again"


def verify(
    root: Path,
    keys: Sequence[Path] = (),
    *,
    allow_unsigned: bool = False,
    seen: Seen = lambda _new, _total: None,
) -> Verdict:
    """Check a bundle's signatures, then all its files in parallel.

    Args:
        root: the bundle.
        keys: files of trusted public keys; none means those of this machine.
        allow_unsigned: whether signatures may be missing or by keys that nobody trusts; one that
            does not fit its file is a fault all the same.
        seen: is told what has been read.

    Raises:
        BundleError: there is no manifest, or it cannot be read.
        InputError: a key file is none.
        LandbridgeError: gpgv is missing.
    """
    trusted, wanted = trusted_keys(keys), signatures_of(root)
    signatures = {
        path: check(root / path.removesuffix(".asc"), root / path, trusted) for path in wanted
    }
    release, promised = read_manifest(root)
    present = set(all_files(root)) - {NAME, *wanted}
    missing = promised.keys() - present
    bad = _bad_files(root, {path: promised[path] for path in promised.keys() & present}, seen)
    intact = promised.keys() - missing - bad.keys()
    if fault := _release_fault(root, release, promised, intact):
        bad[NAME] = fault
    for path, found in signatures.items():
        if found.state == "missing" and not allow_unsigned:
            missing.add(path)
        elif found.state == "bad" or (found.state == "unknown" and not allow_unsigned):
            bad.setdefault(path.removesuffix(".asc") if found.altered else path, found.detail)
    return Verdict(
        release=release,
        files=len(promised),
        size=sum(entry.size for entry in promised.values()),
        signature=signatures[SIGNATURE],
        bad=dict(sorted(bad.items())),
        missing=sorted(missing),
        extra=sorted(present - promised.keys()),
        sbom=_sbom_faults(root, promised, intact),
    )


def _bad_files(root: Path, promised: Mapping[str, Entry], seen: Seen) -> dict[str, str]:
    """What is wrong with these files; the biggest come first, so that the small fill the gaps."""
    paths = sorted(promised, key=lambda path: promised[path].size, reverse=True)
    total = sum(entry.size for entry in promised.values())
    bad: dict[str, str] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        faults = pool.map(lambda path: _fault(root / path, promised[path]), paths)
        for path, fault in zip(paths, faults, strict=True):
            seen(promised[path].size, total)
            if fault:
                bad[path] = fault
    return bad


def _fault(path: Path, promised: Entry) -> str:
    """What is wrong with a file, empty for nothing."""
    try:
        with open(path, "rb", buffering=0, opener=_open) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                return "not a file"
            if about.st_size != promised.size:
                return f"{about.st_size} bytes instead of {promised.size}"
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return "a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
    return "" if found == promised.sha256 else f"sha256 {found} instead of {promised.sha256}"


def _open(path: str, flags: int) -> int:
    """Open for reading what is no link, and never wait for a pipe's other end."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _release_fault(
    root: Path, release: str, promised: Mapping[str, Entry], intact: set[str]
) -> str:
    """Whether the release is that of the files; it is all that no file's hash vouches for."""
    stack, _, _ = release.rpartition("-")
    if release != release_of(stack, promised):
        return f"release {release} is not that of its files"
    named = _release_in(root / CONTENT) if CONTENT in intact else release
    return "" if named == release else f"release {release}, but {CONTENT} says {named}"


def _sbom_faults(root: Path, promised: Mapping[str, Entry], intact: set[str]) -> list[str]:
    """Compare only what is as promised; a changed SBOM has been named already."""
    comparable = sbom.NAME in promised and intact.issuperset(promised.keys() & set(sbom.READ))
    return sbom.faults(root, promised) if comparable else []


def _release_in(content: Path) -> object:
    try:
        return json.loads(content.read_bytes())["release"]
    except (ValueError, KeyError, TypeError):
        return None
