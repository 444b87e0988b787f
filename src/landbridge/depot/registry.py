"""`registry/`: the releases' images as files that a web server gives to `podman pull`.

The distribution API asks for manifests by an image's name and a tag or digest, and for blobs by
digest. Both are links into the releases' OCI layouts. A manifest's answer must name its media type,
which a file does not have: the link's suffix stands for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from landbridge.depot.layout import Layout, sync_folder
from landbridge.errors import BundleError
from landbridge.files import put_in_place, recover

# What role depot's nginx makes of them again.
SUFFIXES = {
    "application/vnd.oci.image.manifest.v1+json": "oci-manifest",
    "application/vnd.oci.image.index.v1+json": "oci-index",
    "application/vnd.docker.distribution.manifest.v2+json": "docker-manifest",
    "application/vnd.docker.distribution.manifest.list.v2+json": "docker-list",
}
_NAME = "org.opencontainers.image.ref.name"
_BLOBS = Path("images", "blobs", "sha256")


def write(layout: Layout) -> None:
    """Bring `registry/` to what the releases hold; a tag means the current release's image.

    Raises:
        BundleError: a release's OCI layout is none.
    """
    links: dict[Path, Path] = {}
    current = layout.current_name()
    # The last one counts.
    for name in sorted(layout.names(), key=lambda name: name == current):
        links |= _links(layout.releases / name)
    place = layout.root / "registry"
    recover(place)
    if links == _present(place):
        return
    new = layout.incoming / ".landbridge-registry"
    new.mkdir()
    for link, target in links.items():
        (new / link).parent.mkdir(parents=True, exist_ok=True)
        (new / link).symlink_to(os.path.relpath(target, (place / link).parent))
    put_in_place(new, place)
    sync_folder(layout.root)


def _links(release: Path) -> dict[Path, Path]:
    """What a release's images need: places in `registry/`, and the files that they lead to."""
    index, blobs = release / "images" / "index.json", release / _BLOBS
    # A node that reads a depot far away has the description only.
    if not index.is_file() or not blobs.is_dir():
        return {}
    try:
        links = {Path("blobs", blob.name): blob for blob in blobs.iterdir()}
        for entry in json.loads(index.read_bytes())["manifests"]:
            name, _, tag = entry["annotations"][_NAME].rpartition(":")
            for reference, manifest in _manifests(blobs, entry, tag):
                suffix = SUFFIXES[manifest["mediaType"]]
                links[Path("manifests", name, f"{reference}.{suffix}")] = _blob(blobs, manifest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{index}: damaged: {error!r}", "receive the release again") from error
    return links


def _manifests(
    blobs: Path, entry: Mapping[str, Any], tag: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """An image's manifest by tag and digest, and those of its platforms by digest."""
    yield tag, entry
    yield entry["digest"], entry
    if SUFFIXES[entry["mediaType"]] in ("oci-index", "docker-list"):
        for child in json.loads(_blob(blobs, entry).read_bytes())["manifests"]:
            yield child["digest"], child


def _blob(blobs: Path, described: Mapping[str, Any]) -> Path:
    return blobs / str(described["digest"]).removeprefix("sha256:")


def _present(place: Path) -> dict[Path, Path]:
    found = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
    return {
        link.relative_to(place): Path(os.path.normpath(link.parent / link.readlink()))
        for link in found
    }
