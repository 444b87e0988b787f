"""The busybox image: the same digests every time, served by a real registry, and it runs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from landbridge.errors import SourceError
from tests.lab import upstream_images as images


def manifest(layout: Path) -> tuple[str, dict[str, object]]:
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    data = (layout / "blobs" / entry["digest"].replace(":", "/")).read_bytes()
    assert entry["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    return entry["digest"], json.loads(data)


def test_the_image_has_the_same_digest_every_time(tmp_path: Path) -> None:
    files = images.busybox(images.BUSYBOX)
    images.layout(tmp_path / "a", images.IMAGE, files)
    images.layout(tmp_path / "b", images.IMAGE, dict(reversed(files.items())))
    assert manifest(tmp_path / "a") == manifest(tmp_path / "b")


def test_its_root_runs_on_its_own(tmp_path: Path) -> None:
    images.layout(tmp_path / "a", images.IMAGE, images.busybox(images.BUSYBOX))
    _, found = manifest(tmp_path / "a")
    (layer,) = found["layers"]  # type: ignore[misc]
    with tarfile.open(tmp_path / "a/blobs" / layer["digest"].replace(":", "/")) as archive:
        archive.extractall(tmp_path / "root", filter="tar")
    command = ["chroot", tmp_path / "root", "/bin/sh", "-c", "id -un; echo a b | cut -d' ' -f2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "root\nb\n"


def test_a_registry_serves_what_was_pushed(tmp_path: Path) -> None:
    images.layout(tmp_path / "layout", images.IMAGE, images.busybox(images.BUSYBOX))
    (tmp_path / "data").mkdir()
    with images.registry(tmp_path / "data") as address:
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        source, there = (
            f"oci:{tmp_path}/layout:{images.IMAGE}",
            f"docker://{address}/{images.IMAGE}",
        )
        subprocess.run([*command, source, there], check=True)
    with images.registry(tmp_path / "data") as address:
        command = ["skopeo", "inspect", "--tls-verify=false", f"docker://{address}/{images.IMAGE}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["Digest"] == manifest(tmp_path / "layout")[0]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_a_registry_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceError, match="did not start"),
        images.registry(Path(f"{tmp_path}\n  : no yaml")),
    ):
        pass
