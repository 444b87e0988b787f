"""Module landbridge_oci_image with the real skopeo and podman, on a storage of its own."""

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

NAME = "localhost/tools/tiny:1"
OCI = "application/vnd.oci.image"


def put(layout: Path, data: bytes, kind: str) -> dict[str, Any]:
    """Store a blob; returns its descriptor."""
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}


def write_layout(layout: Path, text: bytes) -> str:
    """An OCI layout with one image of one file; returns the manifest's digest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = len(text)
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
    entry_of = put(layout, json.dumps(manifest).encode(), "manifest.v1+json")
    named = {**entry_of, "annotations": {"org.opencontainers.image.ref.name": NAME}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    digest: str = entry_of["digest"]
    return digest


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Runner:
    storage = tmp_path / "storage.conf"
    storage.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
    return Runner(load("podman", "landbridge_oci_image"), capsys)


def wanted(digest: str) -> list[dict[str, str]]:
    return [{"name": NAME, "digest": digest}]


def test_copied_once_with_its_digest(run: Runner, tmp_path: Path) -> None:
    digest = write_layout(tmp_path / "images", b"one")
    arguments = {"layout": str(tmp_path / "images"), "images": wanted(digest)}
    announced = run(**arguments, check=True)
    first, second = run(**arguments), run(**arguments)
    assert announced["copied"] == first["copied"] == [NAME]
    assert first["changed"]
    assert first["diff"] == {"before": "", "after": f"{NAME} {digest}\n"}
    assert (second["changed"], second["copied"]) == (False, [])


def test_a_new_digest_under_the_same_name_is_copied(run: Runner, tmp_path: Path) -> None:
    layout = tmp_path / "images"
    old = write_layout(layout, b"one")
    run(layout=str(layout), images=wanted(old))
    new = write_layout(layout, b"two")
    answer = run(layout=str(layout), images=wanted(new))
    assert answer["changed"]
    assert answer["diff"] == {"before": f"{NAME} {old}\n", "after": f"{NAME} {new}\n"}


def test_another_digest_than_promised_fails(run: Runner, tmp_path: Path) -> None:
    write_layout(tmp_path / "images", b"one")
    answer = run(layout=str(tmp_path / "images"), images=wanted("sha256:" + "0" * 64))
    assert answer["failed"]
    assert "another digest" in answer["msg"]


def test_an_image_that_the_layout_lacks_fails_with_its_name(run: Runner, tmp_path: Path) -> None:
    write_layout(tmp_path / "images", b"one")
    images = [{"name": "localhost/other:1", "digest": "sha256:" + "0" * 64}]
    answer = run(layout=str(tmp_path / "images"), images=images)
    assert answer["failed"]
    assert "localhost/other:1" in answer["msg"]


def test_check_mode_before_podman_is_installed(
    run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = run(layout=str(tmp_path / "images"), images=wanted("sha256:1"), check=True)
    assert answer["changed"]
    assert answer["copied"] == [NAME]
