"""Media that were made to do harm: no link is followed, no name believed, nothing is switched."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landbridge.bundle import manifest
from landbridge.bundle.delta import METADATA
from landbridge.bundle.plain_tar import END, header, padding
from landbridge.depot import current
from landbridge.errors import BundleError, LandbridgeError
from tests.unit.bundle_maker import BASE, REPOSITORY, Maker, noise
from tests.unit.depot_desk import Desk

C, D = "conda/noarch/c.conda", "pypi/simple/d/d.whl"
SIZE = 700_000


@pytest.fixture
def desk(maker: Maker, tmp_path: Path) -> Desk:
    return Desk(maker, tmp_path)


def refused(desk: Desk, *sources: Path, match: str, **options: bool) -> None:
    """The receive fails on purpose, and nothing but our own folders is there afterwards."""
    before = {path for path in desk.folder.rglob("*") if desk.depot not in path.parents}
    with pytest.raises(BundleError, match=match):
        desk.receive(*sources, **options)
    assert current(desk.depot) is None
    after = {path for path in desk.folder.rglob("*") if desk.depot not in path.parents}
    assert after - before <= {desk.depot}


def link_to_file(root: Path, outside: Path) -> None:
    (outside / "file").write_bytes(BASE[D] or b"")
    (root / D).unlink()
    (root / D).symlink_to(outside / "file")


def link_to_folder(root: Path, outside: Path) -> None:
    (root / "pypi/simple/d").rename(outside / "d")
    (root / "pypi/simple/d").symlink_to(outside / "d")


def pipe(root: Path, _outside: Path) -> None:
    (root / D).unlink()
    os.mkfifo(root / D)


def folder(root: Path, _outside: Path) -> None:
    (root / D).unlink()
    (root / D).mkdir()


@pytest.mark.parametrize("trick", [link_to_file, link_to_folder, pipe, folder])
def test_no_trick_in_the_place_of_a_file_works(
    desk: Desk, trick: Callable[[Path, Path], None]
) -> None:
    root, outside = desk.bundle("one"), desk.folder / "outside"
    outside.mkdir()
    trick(root, outside)
    refused(desk, root, match=D)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.asc", f"{REPOSITORY}.asc"])
def test_no_link_stands_for_a_head(desk: Desk, name: str) -> None:
    root = desk.bundle("one")
    (root / name).rename(desk.folder / "outside")
    (root / name).symlink_to(desk.folder / "outside")
    with pytest.raises((BundleError, OSError)):
        desk.receive(root)
    assert current(desk.depot) is None


@pytest.mark.parametrize(
    "path", ["../../evil", "/etc/evil", "a/../../evil", "a//b", "manifest.json"]
)
def test_no_manifest_names_a_path_elsewhere(desk: Desk, path: str) -> None:
    root = desk.maker.bundle(desk.folder / "one", owner=None)
    data = json.loads((root / manifest.NAME).read_text())
    data["files"][path] = {"sha256": "0" * 64, "size": 4}
    (root / manifest.NAME).write_text(json.dumps(data, indent=1) + "\n")
    refused(desk, root, match="damaged", allow_unsigned=True)


@pytest.mark.parametrize("release", ["../../evil-000000000000", "evil", "x/y-000000000000"])
def test_no_manifest_names_a_folder_elsewhere(desk: Desk, release: str) -> None:
    root = desk.maker.bundle(desk.folder / "one", owner=None)
    data = json.loads((root / manifest.NAME).read_text())
    data["release"] = release
    (root / manifest.NAME).write_text(json.dumps(data, indent=1) + "\n")
    refused(desk, root, match="damaged", allow_unsigned=True)


def test_no_manifest_takes_anothers_release(desk: Desk) -> None:
    root = desk.maker.bundle(desk.folder / "one", owner=None)
    data = json.loads((root / manifest.NAME).read_text())
    data["release"] = "small-000000000000"
    (root / manifest.NAME).write_text(json.dumps(data, indent=1) + "\n")
    refused(desk, root, match="is not the release of these files", allow_unsigned=True)


def made_tar(*files: tuple[str, bytes]) -> bytes:
    parts = (header(name, len(data)) + data + padding(len(data)) for name, data in files)
    return b"".join(parts) + END


@pytest.mark.parametrize(
    "extra",
    [("../../evil", b"evil"), ("/etc/evil", b"evil"), ("stack.lock", b"other size")],
    ids=["up", "absolute", "size"],
)
def test_a_deltas_texts_are_only_those_of_the_manifest(
    desk: Desk, extra: tuple[str, bytes]
) -> None:
    old = desk.bundle("old")
    new = desk.bundle("new", {"stack.lock": b"two\n"}, day=2)
    delta = desk.delta(new, old)
    data = made_tar(("manifest.json", (new / "manifest.json").read_bytes()), extra)
    (delta / METADATA).write_bytes(lzma.compress(data))
    refused(desk, delta, match="is not in the manifest")


@pytest.mark.parametrize(
    "data",
    [
        b"no xz at all",
        lzma.compress(b"no tar at all" * 200),
        lzma.compress(made_tar(("stack.lock", b"x"))),
        lzma.compress(made_tar(("manifest.json", noise("m", 5000))))[:300],
    ],
    ids=["no-xz", "no-tar", "no-manifest", "cut-off"],
)
def test_a_deltas_texts_that_cannot_be_read_are_named(desk: Desk, data: bytes) -> None:
    delta = desk.delta(desk.bundle("new", {D: None}), desk.bundle("old"))
    (delta / METADATA).write_bytes(data)
    refused(desk, delta, match=METADATA)


def test_a_text_that_claims_a_terabyte_is_refused_unread(desk: Desk) -> None:
    delta = desk.delta(desk.bundle("new", {D: None}), desk.bundle("old"))
    (delta / METADATA).write_bytes(lzma.compress(header("manifest.json", 1 << 40)))
    refused(desk, delta, match="at most 268435456 are expected")


class Volume:
    """The parts of a volume, to be put together otherwise."""

    def __init__(self, desk: Desk) -> None:
        self.file = desk.volumes(desk.bundle("one"), 8_000_000)[0]
        with tarfile.open(self.file) as tar:
            self.infos = {info.name: info for info in tar}
            self.parts = {i.name: tar.extractfile(i).read() for i in tar}  # type: ignore[union-attr]
        self.about: dict[str, Any] = json.loads(self.parts["volume.json"])

    def write(self) -> Path:
        """With a checksum that fits: whoever writes a volume writes that too."""
        self.parts["volume.json"] = json.dumps(self.about).encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, data in self.parts.items():
                info = self.infos.get(name, tarfile.TarInfo(name))
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return self.keep(buffer.getvalue())

    def keep(self, data: bytes) -> Path:
        self.file.write_bytes(data)
        line = f"{hashlib.sha256(data).hexdigest()}  {self.file.name}\n"
        self.file.with_name(f"{self.file.name}.sha256").write_text(line)
        return self.file


@pytest.fixture
def volume(desk: Desk) -> Volume:
    return Volume(desk)


def test_a_volume_put_together_anew_is_one(desk: Desk, volume: Volume) -> None:
    """Else the tests below would test nothing."""
    assert desk.receive(volume.write()).switched


@pytest.mark.parametrize("path", ["../../../evil", "/etc/evil", "not/promised", "manifest.json"])
def test_a_piece_goes_only_where_the_manifest_says(desk: Desk, volume: Volume, path: str) -> None:
    volume.about["pieces"][0] = {"path": path, "offset": 0, "length": 4}
    refused(desk, volume.write(), match="is not in the manifest")


@pytest.mark.parametrize(("offset", "length"), [(1, 12), (0, 13), (1 << 62, 12)])
def test_a_piece_stays_within_its_file(
    desk: Desk, volume: Volume, offset: int, length: int
) -> None:
    assert volume.about["pieces"][0] == {"path": "bootstrap.sh", "offset": 0, "length": 12}
    volume.about["pieces"][0] |= {"offset": offset, "length": length}
    refused(desk, volume.write(), match="is not in the manifest")


@pytest.mark.parametrize(
    "change",
    [
        {"release": "../evil-000000000000"},
        {"release": 5},
        {"set": "../../../evil"},
        {"number": 0},
        {"number": 2, "count": 1},
        {"count": 10**9},
        {"bases": ["../evil"]},
        {"files": "x"},
        {"pieces": [{"path": "bootstrap.sh", "offset": -1, "length": 3}]},
        {"pieces": [{"path": "bootstrap.sh", "offset": 0.5, "length": 3}]},
        {"pieces": [{"path": 7, "offset": 0, "length": 3}]},
        {"pieces": [7]},
        {"pieces": None},
        {"head": []},
        {"head": ["../evil"]},
        {"format": 2},
        {"format": [1]},
    ],
    ids=str,
)
def test_a_volumes_numbers_and_names_are_checked(
    desk: Desk, volume: Volume, change: dict[str, Any]
) -> None:
    volume.about |= change
    refused(desk, volume.write(), match=volume.file.name)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE]
)
def test_a_volume_holds_only_regular_files(desk: Desk, volume: Volume, kind: bytes) -> None:
    info = volume.infos["bootstrap.sh"]
    info.type, info.linkname = kind, "/etc/passwd"
    refused(desk, volume.write(), match="is no regular file")


def test_a_member_has_the_name_that_was_told(desk: Desk, volume: Volume) -> None:
    volume.infos["bootstrap.sh"].name = "../../evil"
    refused(desk, volume.write(), match="where 'bootstrap.sh' should be")


def test_another_content_under_a_right_name_is_not_kept(desk: Desk, volume: Volume) -> None:
    volume.parts["bootstrap.sh"] = b"#!/bin/evil\n"
    refused(desk, volume.write(), match=r"bootstrap\.sh: sha256 ")
    assert not list(desk.depot.rglob("releases/*"))


def test_a_strangers_manifest_in_a_volume_is_refused(desk: Desk, volume: Volume) -> None:
    volume.parts["manifest.json"] += b" "
    refused(desk, volume.write(), match=r"manifest\.json\.asc: bad")
    assert list((desk.depot / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 10_000, b"x" * 10_000, header("volume.json", 1 << 50) + b"{}", header("x", 1)],
    ids=["empty", "zeros", "garbage", "huge", "cut-off"],
)
def test_what_is_no_tar_is_named(desk: Desk, volume: Volume, data: bytes) -> None:
    refused(desk, volume.keep(data), match=volume.file.name)


def test_a_manifest_with_a_file_below_a_file_fails_cleanly(desk: Desk) -> None:
    root = desk.maker.bundle(desk.folder / "one", owner=None)
    release, entries = manifest.read_manifest(root)
    entries["stack.lock/below"] = entries["stack.lock"]
    release = manifest.release_of("small", entries)
    manifest.write_manifest(root, release, entries)
    with pytest.raises((LandbridgeError, OSError)):
        desk.receive(root, allow_unsigned=True)
    assert current(desk.depot) is None
