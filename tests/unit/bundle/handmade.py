"""A small bundle written by hand: every kind of artifact, nothing that a client could install."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from landbridge.bundle import manifest, sbom
from landbridge.lock import Artifact, Lock

SPECS: tuple[dict[str, Any], ...] = (
    {
        "ecosystem": "rpm",
        "name": "hello",
        "version": "1:2.0",
        "build": "3.el9.noarch",
        "targets": ["el9-x86_64"],
        "path": "rpm/el9-x86_64/Packages/hello-2.0-3.el9.noarch.rpm",
        "license": "GPLv2+ and MIT",
    },
    {
        "ecosystem": "rpm",
        "name": "glibc",
        "version": "0:2.39",
        "build": "1.el10.x86_64",
        "targets": ["el10-x86_64"],
        "path": "rpm/el10-x86_64/Packages/glibc-2.39-1.el10.x86_64.rpm",
        "license": "LGPL-2.1-or-later AND BSD-3-Clause",
    },
    {
        "ecosystem": "rpm-key",
        "name": "RPM-GPG-KEY-base",
        "version": "",
        "path": "rpm/keys/RPM-GPG-KEY-base",
    },
    {
        "ecosystem": "conda",
        "name": "app",
        "version": "1.0",
        "build": "h1_0",
        "targets": ["linux-64"],
        "path": "conda/linux-64/app-1.0-h1_0.conda",
        "license": "BSD-3-Clause",
    },
    {
        "ecosystem": "conda",
        "name": "lib",
        "version": "2.1",
        "build": "py_0",
        "targets": ["noarch"],
        "path": "conda/noarch/lib-2.1-py_0.tar.bz2",
        "required_by": ["app"],
    },
    {
        "ecosystem": "pypi",
        "name": "tool",
        "version": "1.0",
        "targets": ["3.11", "3.12"],
        "path": "pypi/simple/tool/tool-1.0-py3-none-any.whl",
        "license": "MIT",
    },
    {
        "ecosystem": "pypi",
        "name": "old-backport",
        "version": "0.5",
        "targets": ["3.11"],
        "path": "pypi/simple/old-backport/old_backport-0.5-py3-none-any.whl",
        "required_by": ["tool"],
    },
    {
        "ecosystem": "cran",
        "name": "Top",
        "version": "1.0-2",
        "path": "cran/src/contrib/Top_1.0-2.tar.gz",
        "license": "MIT + file LICENSE",
    },
    {
        "ecosystem": "toolkit",
        "name": "landbridge",
        "version": "0.1.0",
        "targets": ["3.11"],
        "path": "toolkit/wheels/landbridge-0.1.0-py3-none-any.whl",
        "url": "built:landbridge",
    },
    {
        "ecosystem": "collection",
        "name": "ansible.posix",
        "version": "2.1.0",
        "path": "collections/ansible-posix-2.1.0.tar.gz",
    },
    {
        "ecosystem": "oci",
        "name": "tools/busybox",
        "version": "1",
        "path": "localhost/tools/busybox:1",
        "url": "docker://registry.example/tools/busybox@sha256:" + "ab" * 32,
        "sha256": "ab" * 32,
    },
)
OTHER_FILES = (
    "rpm/el9-x86_64/repodata/repomd.xml",
    "rpm/el9-x86_64/repodata/primary.xml.gz",
    "rpm/el10-x86_64/repodata/repomd.xml",
    "conda/linux-64/repodata.json",
    "cran/src/contrib/PACKAGES",
    "bootstrap.sh",
)
IMAGES = {
    "manifests": [
        {"annotations": {"org.opencontainers.image.ref.name": "localhost/tools/busybox:1"}}
    ]
}


def content_of(path: str) -> bytes:
    return f"what is in {path}\n".encode() * 20


def lock() -> Lock:
    """The lock of the bundle."""
    return Lock(
        stack="small",
        targets=["el9-x86_64", "el10-x86_64"],
        artifacts=[_artifact(spec) for spec in SPECS],
    )


def bundle(root: Path) -> Path:
    """Write the bundle at `root`, unsigned."""
    for artifact in lock().artifacts:
        if artifact.ecosystem != "oci":
            _write(root / artifact.path, content_of(artifact.path))
    for path in OTHER_FILES:
        _write(root / path, content_of(path))
    _write(root / "images/index.json", json.dumps(IMAGES).encode())
    _write(root / "stack.lock", lock().dump().encode())
    _write(root / sbom.NAME, sbom.document(lock()).encode())
    return seal(root)


def seal(root: Path) -> Path:
    """Write `content.json` and the manifest of what is at `root`."""
    (root / manifest.CONTENT).unlink(missing_ok=True)
    release = manifest.release_of("small", manifest.describe(root, manifest.files_of(root), {}))
    _write(root / manifest.CONTENT, json.dumps({"format": 1, "release": release}).encode())
    manifest.write_manifest(root, release, manifest.describe(root, manifest.files_of(root), {}))
    return root


def _artifact(spec: dict[str, Any]) -> Artifact:
    data = content_of(spec["path"])
    source = {"url": f"https://mirror.example/channel/{spec['path']}"}
    known = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return Artifact.model_validate({**source, **known, **spec})


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
