"""Versions of an image, for tests of its update: two that are healthy, and one that is not.

`python -m tests.lab.upgrade make FOLDER` writes OCI layouts FOLDER/1, 2 and 3, all of them as
FOLDER/versions.tar, and what is in them as FOLDER/images.json; `push FOLDER VERSION NODE` brings
one into the registry on a node, and starts that.
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.lab import registry, upstream_images

NAME = "localhost/lab/web:1"
# In the first version only.
DROPPED = "localhost/lab/passing:1"
IN_REGISTRY = "lab/web:1"
ILL = "3"


def make(folder: Path) -> None:
    """Write the layouts of all versions."""
    images = {}
    for version in ("1", "2", ILL):
        layout = folder / version
        layout.mkdir(parents=True)
        names = [NAME, DROPPED] if version == "1" else [NAME]
        entries = [entry for name in names for entry in _write(layout, name, version)]
        index = {"schemaVersion": 2, "manifests": entries}
        (layout / "index.json").write_text(json.dumps(index))
        named = zip(names, entries, strict=True)
        images[version] = [{"name": name, "digest": entry["digest"]} for name, entry in named]
    (folder / "images.json").write_text(json.dumps(images))
    with tarfile.open(folder / "versions.tar", "w") as archive:
        for version in images:
            archive.add(folder / version, version)


def push(folder: Path, version: str, node: str) -> None:
    """Bring a version into the registry on a node."""
    registry.start(node).push(folder / version, NAME, IN_REGISTRY)


def _write(layout: Path, name: str, version: str) -> list[dict[str, Any]]:
    """Write one image; returns what the layout's index says of it."""
    files = upstream_images.busybox(upstream_images.BUSYBOX)
    files["www/version"] = (version.encode(), 0o644)
    if version == ILL:
        files["ill"] = (b"", 0o644)
    if name == DROPPED:
        files["passing"] = (b"", 0o644)  # so that it is no second name of the other image
    upstream_images.layout(layout, name, files)
    entries: list[dict[str, Any]] = json.loads((layout / "index.json").read_text())["manifests"]
    return entries


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        push(Path(sys.argv[2]), *sys.argv[3:5])
