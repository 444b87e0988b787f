"""A depot, and bundles, deltas and volumes that come to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from landbridge.bundle import manifest
from landbridge.bundle.delta import delta
from landbridge.bundle.volumes import split
from landbridge.depot import Received, receive
from tests.unit.bundle_maker import Maker

Changes = Mapping[str, bytes | None]


class Desk:
    """A depot, and bundles that come to it."""

    def __init__(self, maker: Maker, folder: Path) -> None:
        self.maker, self.folder, self.depot = maker, folder, folder / "depot"
        self.said: list[str] = []

    def bundle(
        self, name: str, changes: dict[str, bytes | None] | None = None, day: int = 1
    ) -> Path:
        return self.maker.bundle(self.folder / name, changes, day=day)

    def receive(self, *sources: Path, **options: bool) -> Received:
        keys = [self.maker.trusted]
        return receive(sources, self.depot, keys, say=self.said.append, **options)

    def delta(self, new: Path, *have: Path) -> Path:
        output = self.folder / f"delta-{new.name}"
        delta(new, have, output)
        return output

    def volumes(self, root: Path, size: int) -> list[Path]:
        output = self.folder / f"volumes-{root.name}"
        split(root, output, size)
        return sorted(output.glob("*.tar"))

    def release(self, bundle: Path) -> Path:
        return self.depot / "releases" / manifest.read_manifest(bundle)[0]

    def is_current(self, bundle: Path) -> bool:
        return (self.depot / "current").resolve() == self.release(bundle).resolve()
