"""The manifest: what it lists, and that no byte of it is without meaning."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from landbridge.bundle import manifest
from landbridge.errors import BundleError
from tests.unit.bundle import handmade

ENTRY = {"sha256": "ab" * 32, "size": 3}
RELEASE = "small-0123456789ab"


def text(files: dict[str, Any], **changes: Any) -> bytes:
    data = {"format": 1, "release": RELEASE, "files": files} | changes
    return (json.dumps(data, indent=1) + "\n").encode()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    entries = {"b/ü": manifest.Entry("cd" * 32, 0), "a": manifest.Entry("ab" * 32, 3)}
    manifest.write_manifest(tmp_path, RELEASE, entries)
    assert manifest.read_manifest(tmp_path) == (RELEASE, entries)
    assert (tmp_path / "manifest.json").read_bytes().startswith(text({"a": ENTRY})[:80])


@pytest.mark.parametrize(
    ("files", "changes"),
    [
        ({"/etc/passwd": ENTRY}, {}),
        ({"../x": ENTRY}, {}),
        ({"a/../../x": ENTRY}, {}),
        ({"a//b": ENTRY}, {}),
        ({"./a": ENTRY}, {}),
        ({"": ENTRY}, {}),
        ({"a\nb": ENTRY}, {}),
        ({"manifest.json": ENTRY}, {}),
        ({"manifest.json.asc": ENTRY}, {}),
        ({"rpm/el9-x86_64/repodata/repomd.xml.asc": ENTRY}, {}),
        ({"a": ENTRY | {"sha256": "xy" * 32}}, {}),
        ({"a": ENTRY | {"sha256": "AB" * 32}}, {}),
        ({"a": ENTRY | {"sha256": 7}}, {}),
        ({"a": ENTRY | {"size": -1}}, {}),
        ({"a": ENTRY | {"size": 3.0}}, {}),
        ({"a": ENTRY | {"size": True}}, {}),
        ({"a": ENTRY | {"mode": 1}}, {}),
        ({"a": {"sha256": "ab" * 32}}, {}),
        ({"a": ["ab" * 32, 3]}, {}),
        ({"b": ENTRY, "a": ENTRY}, {}),
        ({"a": ENTRY}, {"more": 1}),
        ({"a": ENTRY}, {"release": "../../small-0123456789ab"}),
        ({"a": ENTRY}, {"release": 7}),
        ({"a": ENTRY}, {"format": 2}),
    ],
)
def test_anything_else_is_refused(files: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"here/manifest\.json: (damaged|format)"):
        manifest.parse(text(files, **changes), Path("here/manifest.json"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        text({"a": ENTRY})[:-1],
        text({"a": ENTRY}) + b" ",
        text({"a": ENTRY}).replace(b'"format": 1,', b'"format": 1, "format": 1,'),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"here/manifest\.json: damaged"):
        manifest.parse(data, Path("here/manifest.json"))


def test_signatures_and_the_manifest_are_no_part_of_it(tmp_path: Path) -> None:
    handmade.bundle(tmp_path)
    before = manifest.files_of(tmp_path)
    for path in ("manifest.json.asc", "rpm/el9-x86_64/repodata/repomd.xml.asc"):
        (tmp_path / path).write_text("signature")
    assert manifest.files_of(tmp_path) == before
    # Elsewhere such a name is nobody's signature.
    (tmp_path / "conda/repomd.xml.asc").write_text("more")
    assert manifest.files_of(tmp_path) == sorted([*before, "conda/repomd.xml.asc"])


def test_links_are_listed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to("nowhere")
    assert manifest.files_of(tmp_path) == ["folder/file", "gone", "loop"]


def test_the_bundle_may_be_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handmade.bundle(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert manifest.files_of(Path()) == manifest.files_of(tmp_path)


def test_release_depends_on_content_and_names_alone(tmp_path: Path) -> None:
    release, entries = manifest.read_manifest(handmade.bundle(tmp_path / "one"))
    assert manifest.read_manifest(handmade.bundle(tmp_path / "two")) == (release, entries)
    os.utime(tmp_path / "one/bootstrap.sh", (0, 0))
    assert manifest.release_of("small", entries) == release
    renamed = {path.replace("bootstrap", "start"): entry for path, entry in entries.items()}
    assert manifest.release_of("small", renamed) != release
