"""An OCI layout with small images, for the modules that read one."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"


def put(layout: Path, data: bytes, kind: str) -> dict[str, Any]:
    """Store a blob; returns its descriptor."""
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}


def write_image(layout: Path, text: bytes) -> dict[str, Any]:
    """Store an image of one file; returns its manifest's descriptor."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        # Of a directory that no entry of the layer describes.
        entry = tarfile.TarInfo("folder/file")
        entry.size, entry.mode, entry.uid, entry.gid = len(text), 0o640, 33, 44
        archive.addfile(entry, io.BytesIO(text))
    layer = put(layout, gzip.compress(packed.getvalue()), "layer.v1.tar+gzip")
    diff_id = "sha256:" + hashlib.sha256(packed.getvalue()).hexdigest()
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }
    manifest = {
        "schemaVersion": 2,
        "config": put(layout, json.dumps(image).encode(), "config.v1+json"),
        "layers": [layer],
    }
    return put(layout, json.dumps(manifest).encode(), "manifest.v1+json")


def write_layout(layout: Path, **texts: bytes) -> list[dict[str, str]]:
    """An OCI layout with images of one file, named after the keywords; returns what is wanted."""
    manifests = []
    for name, text in texts.items():
        named = {"org.opencontainers.image.ref.name": f"localhost/tools/{name}:1"}
        manifests.append({**write_image(layout, text), "annotations": named})
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    named_digests = [(next(iter(m["annotations"].values())), m["digest"]) for m in manifests]
    return [{"name": name, "digest": digest} for name, digest in named_digests]
