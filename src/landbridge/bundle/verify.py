"""Is a bundle whole? Every file against the manifest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from landbridge.bundle.manifest import WORKERS, Entry, files_of, read_manifest
from landbridge.files import sha256_of


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a bundle; all lists empty means nothing.

    Attributes:
        release: the bundle's release.
        files: number of files that the manifest promises.
        size: bytes that the manifest promises.
        bad: files with other content than promised, each with what differs.
        missing: promised files that are not there.
        extra: files that nobody promised.
    """

    release: str
    files: int
    size: int
    bad: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the bundle is what its manifest says, no more and no less."""
        return not (self.bad or self.missing or self.extra)


def verify(root: Path) -> Verdict:
    """Check a bundle against its manifest, in parallel.

    Raises:
        BundleError: there is no manifest, or it cannot be read.
    """
    release, promised = read_manifest(root)
    present = set(files_of(root))
    here = sorted(promised.keys() & present)
    with ThreadPoolExecutor(WORKERS) as pool:
        faults = pool.map(lambda path: _fault(root / path, promised[path]), here)
        bad = {path: fault for path, fault in zip(here, faults, strict=True) if fault}
    return Verdict(
        release=release,
        files=len(promised),
        size=sum(entry.size for entry in promised.values()),
        bad=bad,
        missing=sorted(promised.keys() - present),
        extra=sorted(present - promised.keys()),
    )


def _fault(path: Path, promised: Entry) -> str:
    """What is wrong with a file, empty for nothing."""
    try:
        size = path.stat().st_size
        if size != promised.size:
            return f"{size} bytes instead of {promised.size}"
        found = sha256_of(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if found == promised.sha256 else f"sha256 {found} instead of {promised.sha256}"
