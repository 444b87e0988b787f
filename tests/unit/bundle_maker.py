"""Small bundles of any files, signed by real keys at chosen times."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from landbridge.bundle import sign
from landbridge.files import scratch
from tests.unit import openpgp
from tests.unit.bundle import handmade

TRUSTED, STRANGER = "release", "stranger"
REPOSITORY = "rpm/el9-x86_64/repodata/repomd.xml"
# A socket's path must be short.
_SHORT = Path("/dev/shm")


def noise(seed: str, size: int) -> bytes:
    """Bytes that cannot be compressed, the same for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(size)


BASE: Mapping[str, bytes] = {
    "bootstrap.sh": b"#!/bin/bash\n",
    "stack.lock": b"name: one\n" * 400,
    "sbom.cdx.json": b'{"a": 1}\n' * 400,
    "toolkit/requirements-3.11.txt": b"equal\n",
    "toolkit/requirements-3.12.txt": b"equal\n",
    "toolkit/wheels/tool.whl": noise("tool", 5000),
    "rpm/keys/RPM-GPG-KEY-base": b"key\n",
    REPOSITORY: b"<repomd/>\n",
    "rpm/el9-x86_64/Packages/a.rpm": noise("a", 70_000),
    "rpm/el9-x86_64/Packages/b.rpm": noise("b", 200_000),
    "conda/noarch/c.conda": noise("c", 3_000_000),
    "pypi/simple/d/empty": b"",
    "pypi/simple/d/d.whl": noise("d", 30_000),
}


@dataclass(frozen=True)
class Maker:
    """Makes bundles.

    Attributes:
        keys: of `TRUSTED` and `STRANGER`.
        trusted: the file with the public key of `TRUSTED`.
    """

    keys: openpgp.Keys
    trusted: Path

    def bundle(
        self,
        root: Path,
        changes: Mapping[str, bytes | None] | None = None,
        *,
        day: int = 1,
        owner: str | None = TRUSTED,
    ) -> Path:
        """Write a bundle.

        Args:
            root: its folder.
            changes: files beside or instead of `BASE`'s; None takes one away.
            day: when it is signed.
            owner: by whom; None for nobody.
        """
        shutil.rmtree(root, ignore_errors=True)
        for path, data in {**BASE, **(changes or {})}.items():
            if data is not None:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(data)
        (root / "bootstrap.sh").chmod(0o755)
        handmade.seal(root)
        if owner:
            self.sign(root, day, owner)
        return root

    def sign(self, root: Path, day: int, owner: str = TRUSTED) -> None:
        """Sign a bundle as of that day."""
        for path in sign.signatures_of(root):
            at = openpgp.EARLY + day * openpgp.DAY
            self.keys.sign(owner, root / path.removesuffix(".asc"), at)


@contextmanager
def maker() -> Iterator[Maker]:
    """With new keys, which are gone afterwards."""
    with scratch(_SHORT) as folder, openpgp.keys(folder / "h") as keys:
        for owner in (TRUSTED, STRANGER):
            keys.make(owner)
        trusted = folder / "trusted.asc"
        trusted.write_text(keys.public(TRUSTED))
        yield Maker(keys, trusted)


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder by its path."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
