"""Receiving volumes: any order, several runs, bad ones named, good ones not asked for again."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from landbridge.depot import current
from landbridge.errors import BundleError
from tests.unit.bundle_maker import BASE, Maker, contents, noise
from tests.unit.depot_desk import Desk

SIZE = 700_000
C, D = "conda/noarch/c.conda", "pypi/simple/d/d.whl"
CUT = BASE[C]


@pytest.fixture
def desk(maker: Maker, tmp_path: Path) -> Desk:
    return Desk(maker, tmp_path)


def spoil(file: Path, at: int) -> bytes:
    """Change one byte; returns what was there."""
    good = file.read_bytes()
    data = bytearray(good)
    data[at] ^= 1
    file.write_bytes(data)
    return good


def test_all_at_once_in_any_order(desk: Desk) -> None:
    root = desk.bundle("one")
    volumes = desk.volumes(root, SIZE)
    assert len(volumes) == 5
    random.Random(3).shuffle(volumes)
    assert desk.receive(*volumes).switched
    assert contents(desk.release(root)) == contents(root)
    assert list((desk.depot / "incoming").iterdir()) == []


def test_a_folder_of_volumes(desk: Desk) -> None:
    root = desk.bundle("one")
    desk.receive(desk.volumes(root, SIZE)[0].parent)
    assert contents(desk.release(root)) == contents(root)


def test_one_at_a_time_says_what_is_missing(desk: Desk) -> None:
    old, root = desk.bundle("old"), desk.bundle("one", {"stack.lock": b"two\n"}, day=2)
    desk.receive(old)
    volumes = desk.volumes(root, SIZE)
    wanted = [
        (2, "volumes 1, 2, 4, 5 of 5 are missing; what came is kept"),
        (4, "volumes 1, 2, 4 of 5 are missing; what came is kept"),
        (0, "volumes 2, 4 of 5 are missing; what came is kept"),
        (0, "volumes 2, 4 of 5 are missing; what came is kept"),
        (3, "volume 2 of 5 is missing; what came is kept"),
    ]
    # The file in three pieces is in the old release already: take it away.
    (desk.release(old) / C).unlink()
    for number, text in wanted:
        with pytest.raises(BundleError) as caught:
            desk.receive(volumes[number])
        assert str(caught.value).startswith(f"release {desk.release(root).name}: {text}")
        assert desk.is_current(old)
    assert f"{volumes[0].name}: was in before" in desk.said
    assert desk.receive(volumes[1]).switched
    assert contents(desk.release(root)) == contents(root)


def test_a_bad_volume_is_named_and_only_it_is_asked_for_again(desk: Desk) -> None:
    root = desk.bundle("one")
    volumes = desk.volumes(root, SIZE)
    good = spoil(volumes[2], 400_000)
    with pytest.raises(BundleError) as caught:
        desk.receive(*volumes)
    text = str(caught.value)
    assert "volume 3 of 5 is missing; what came is kept" in text
    assert f"{volumes[2].name}: sha256 " in text
    assert current(desk.depot) is None
    volumes[2].write_bytes(good)
    for other in (*volumes[:2], *volumes[3:]):
        other.unlink()
    desk.receive(volumes[2])
    assert contents(desk.release(root)) == contents(root)


@pytest.mark.parametrize("at", [0, 700, 3000, 20_000])
def test_no_byte_of_the_first_blocks_passes(desk: Desk, at: int) -> None:
    root = desk.bundle("one")
    volumes = desk.volumes(root, SIZE)
    good = spoil(volumes[0], at)
    with pytest.raises(BundleError, match=r"volume-001-of-005\.tar: sha256 "):
        desk.receive(*volumes)
    volumes[0].write_bytes(good)
    desk.receive(volumes[0])
    assert contents(desk.release(root)) == contents(root)


def test_a_truncated_volume_is_named(desk: Desk) -> None:
    root = desk.bundle("one")
    volumes = desk.volumes(root, SIZE)
    good = volumes[1].read_bytes()
    volumes[1].write_bytes(good[: len(good) // 2])
    with pytest.raises(BundleError, match="volume 2 of 5 is missing"):
        desk.receive(*volumes)
    volumes[1].write_bytes(good)
    desk.receive(volumes[1])
    assert contents(desk.release(root)) == contents(root)


def test_a_volume_without_its_checksum_is_named(desk: Desk) -> None:
    volumes = desk.volumes(desk.bundle("one"), SIZE)
    volumes[1].with_name(f"{volumes[1].name}.sha256").unlink()
    with pytest.raises(BundleError, match=r"002-of-005\.tar\.sha256: No such file"):
        desk.receive(*volumes)


def test_a_cut_file_that_came_out_wrong_takes_its_volumes_back(desk: Desk) -> None:
    root = desk.bundle("one")
    volumes = desk.volumes(root, SIZE)
    with pytest.raises(BundleError):
        desk.receive(*volumes[:-1])
    part = desk.depot / "incoming" / desk.release(root).name / C
    spoil(part, 10)
    with pytest.raises(BundleError) as caught:
        desk.receive(volumes[-1])
    assert f"{C}: sha256 differs from the manifest" in str(caught.value)
    assert "volumes 1, 2, 3, 4, 5 of 5 are missing" in str(caught.value)
    desk.receive(*volumes)
    assert contents(desk.release(root)) == contents(root)


def test_volumes_of_another_splitting_start_anew_and_keep_whole_files(desk: Desk) -> None:
    root = desk.bundle("one")
    volumes = desk.volumes(root, SIZE)
    with pytest.raises(BundleError, match="volumes 2, 3, 4, 5 of 5"):
        desk.receive(volumes[0])
    other = desk.volumes(root, 2 * SIZE)
    with pytest.raises(BundleError, match="volumes 1, 3 of 3 are missing"):
        desk.receive(other[1])
    desk.receive(*other)
    assert contents(desk.release(root)) == contents(root)


def test_volumes_of_two_splittings_at_once_are_refused(desk: Desk) -> None:
    root = desk.bundle("one")
    kept = desk.folder / "kept"
    shutil.copytree(desk.volumes(root, SIZE)[0].parent, kept)
    with pytest.raises(BundleError, match="not of the same splitting"):
        desk.receive(kept, *desk.volumes(root, 2 * SIZE))


def test_a_bundle_completes_what_volumes_began(desk: Desk) -> None:
    root = desk.bundle("one")
    volumes = desk.volumes(root, SIZE)
    with pytest.raises(BundleError):
        desk.receive(volumes[-1])
    received = desk.receive(root)
    assert received.copied < sum(len(data or b"") for data in BASE.values())
    assert contents(desk.release(root)) == contents(root)


def test_tiny_volumes(desk: Desk) -> None:
    root = desk.bundle("one", {C: noise("c", 60_000)})
    volumes = desk.volumes(root, 16_000)
    assert len(volumes) > 30
    random.Random(5).shuffle(volumes)
    with pytest.raises(BundleError):
        desk.receive(*volumes[:20])
    desk.receive(*volumes[20:])
    assert contents(desk.release(root)) == contents(root)


def test_volumes_of_a_delta(desk: Desk) -> None:
    old = desk.bundle("old")
    new = desk.bundle("new", {"n.conda": noise("n", 2_000_000), "stack.lock": b"two\n"}, day=2)
    desk.receive(old)
    volumes = desk.volumes(desk.delta(new, old), SIZE)
    with pytest.raises(BundleError, match="volumes 1, 2 of 3 are missing"):
        desk.receive(volumes[2])
    desk.receive(*volumes)
    assert contents(desk.release(new)) == contents(new)
    assert (desk.release(new) / C).samefile(desk.release(old) / C)


def test_volumes_of_a_delta_to_a_release_that_is_not_here_are_refused(desk: Desk) -> None:
    old = desk.bundle("old")
    new = desk.bundle("new", {"n.conda": noise("n", 2_000_000)}, day=2)
    volumes = desk.volumes(desk.delta(new, old), SIZE)
    with pytest.raises(BundleError, match=f"{desk.release(old).name} is not here"):
        desk.receive(volumes[1])
    assert list((desk.depot / "incoming").iterdir()) == []


def test_pieces_never_reach_into_an_old_release(desk: Desk) -> None:
    """A linked file that was touched is no longer sealed, and shared all the same."""
    old = desk.bundle("old")
    new = desk.bundle("new", {"stack.lock": b"two\n"}, day=2)
    volumes = desk.volumes(new, SIZE)
    desk.receive(old)
    with pytest.raises(BundleError):
        desk.receive(volumes[0])
    shared = desk.release(old) / C
    assert shared.samefile(desk.depot / "incoming" / desk.release(new).name / C)
    broken = b"B" * len(CUT or b"")
    shared.write_bytes(broken)
    # The first volume counts as in, but its piece of that file was not needed then.
    with pytest.raises(BundleError, match=f"{C}: sha256 differs"):
        desk.receive(*volumes)
    desk.receive(*volumes)
    assert contents(desk.release(new)) == contents(new)
    assert shared.read_bytes() == broken


def test_a_release_that_is_here_needs_no_volumes(desk: Desk) -> None:
    root = desk.bundle("one")
    volumes = desk.volumes(root, SIZE)
    desk.receive(root)
    assert desk.receive(volumes[3]).present
