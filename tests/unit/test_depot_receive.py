"""Receiving bundles and deltas: assembled from what is there, checked, switched in one step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from landbridge.bundle import sign, verify
from landbridge.bundle.part import SEAL
from landbridge.depot import Received, current
from landbridge.errors import BundleError, InputError, LandbridgeError
from landbridge.files import exclusive
from tests.unit.bundle_maker import BASE, REPOSITORY, STRANGER, Maker, contents, noise
from tests.unit.depot_desk import Desk

C, D = "conda/noarch/c.conda", "pypi/simple/d/d.whl"


@pytest.fixture
def desk(maker: Maker, tmp_path: Path) -> Desk:
    return Desk(maker, tmp_path)


def test_a_bundle_arrives_whole_sealed_and_current(desk: Desk) -> None:
    root = desk.bundle("one")
    (root / D).chmod(0o600)
    received = desk.receive(root)
    here = desk.release(root)
    assert contents(here) == contents(root)
    assert received == Received(here.name, 14, 0, received.copied, {}, switched=True)
    assert received.copied == sum(map(len, contents(root).values())) - len(
        b"".join((root / p).read_bytes() for p in ("manifest.json", *sign.signatures_of(root)))
    ) - len(BASE["toolkit/requirements-3.12.txt"])
    assert (desk.depot / "current").readlink() == Path("releases", here.name)
    assert verify.verify(here, [desk.maker.trusted]).bad == {}
    for path in BASE:
        state = (here / path).stat()
        assert state.st_mtime == SEAL
        assert state.st_mode & 0o777 == (0o755 if path == "bootstrap.sh" else 0o644)
    assert all(p.stat().st_mode & 0o777 == 0o755 for p in here.rglob("*") if p.is_dir())
    assert list((desk.depot / "incoming").iterdir()) == []


def test_the_same_again_is_nothing_to_do(desk: Desk) -> None:
    root = desk.bundle("one")
    desk.receive(root)
    inodes = {p: p.stat().st_ino for p in desk.release(root).rglob("*")}
    again = desk.receive(root)
    assert (again.present, again.switched, again.copied) == (True, False, 0)
    assert {p: p.stat().st_ino for p in desk.release(root).rglob("*")} == inodes
    assert any("is here already" in line for line in desk.said)


def test_a_chain_of_deltas_shares_what_is_equal(desk: Desk) -> None:
    a = desk.bundle("a", day=1)
    b = desk.bundle("b", {"b.rpm": noise("new", 5000), "stack.lock": b"two\n"}, day=2)
    c = desk.bundle("c", {"b.rpm": noise("new", 5000), D: None, "e.whl": noise("e", 900)}, day=3)
    desk.receive(a)
    first, second = desk.delta(b, a), desk.delta(c, b)
    received = desk.receive(first)
    assert received.copied < 10_000
    desk.receive(second)
    for bundle in (a, b, c):
        assert contents(desk.release(bundle)) == contents(bundle)
    assert desk.is_current(c)
    assert len({(desk.release(x) / C).stat().st_ino for x in (a, b, c)}) == 1
    assert (desk.release(b) / "b.rpm").samefile(desk.release(c) / "b.rpm")


def test_a_delta_to_a_release_that_is_not_here_is_refused(desk: Desk) -> None:
    a, other = desk.bundle("a"), desk.bundle("other", {C: None, D: None})
    new = desk.bundle("new", {"e.whl": noise("e", 900)}, day=2)
    desk.receive(other)
    with pytest.raises(BundleError) as caught:
        desk.receive(desk.delta(new, a))
    text = str(caught.value)
    base = desk.release(a).name
    assert f"2 files are missing: it is a delta to {base}, and {base} is not here" in text
    assert C in text and D in text
    assert desk.release(other).name in caught.value.mend
    assert desk.is_current(other)
    assert not desk.release(new).exists()
    assert list((desk.depot / "incoming").iterdir()) == []


def test_a_delta_serves_whoever_has_the_contents(desk: Desk) -> None:
    """Its base counts by content: the same files under other names in another release do."""
    a = desk.bundle("a")
    moved = desk.bundle("moved", {C: None, "x/y.conda": BASE[C]})
    new = desk.bundle("new", {"e.whl": noise("e", 900)}, day=2)
    desk.receive(moved)
    desk.receive(desk.delta(new, a))
    assert contents(desk.release(new)) == contents(new)
    assert (desk.release(new) / C).samefile(desk.release(moved) / "x/y.conda")


def test_a_damaged_old_release_is_named_and_a_bundle_brings_its_files_anew(desk: Desk) -> None:
    a, b = desk.bundle("a"), desk.bundle("b", {"stack.lock": b"two\n"}, day=2)
    desk.receive(a)
    (desk.release(a) / C).write_bytes(b"x" * len(BASE[C] or b""))
    (desk.release(a) / D).unlink()
    with pytest.raises(BundleError, match="which is damaged here") as caught:
        desk.receive(desk.delta(b, a))
    assert C in str(caught.value)
    received = desk.receive(b)
    assert set(received.damaged) == {f"releases/{desk.release(a).name}/{path}" for path in (C, D)}
    assert any(line.startswith("damaged: ") and C in line for line in desk.said)
    assert contents(desk.release(b)) == contents(b)


def test_a_damaged_release_is_mended_by_receiving_it_again(desk: Desk) -> None:
    root = desk.bundle("a")
    desk.receive(root)
    (desk.release(root) / C).write_bytes(b"broken")
    kept = (desk.release(root) / D).stat().st_ino
    assert not desk.receive(root).present
    assert contents(desk.release(root)) == contents(root)
    assert (desk.release(root) / D).stat().st_ino == kept
    assert desk.is_current(root)


def test_a_file_that_was_only_touched_is_read_and_used(desk: Desk) -> None:
    a, b = desk.bundle("a"), desk.bundle("b", {"stack.lock": b"two\n"}, day=2)
    desk.receive(a)
    os.utime(desk.release(a) / C)
    assert desk.receive(desk.delta(b, a)).damaged == {}
    assert (desk.release(b) / C).samefile(desk.release(a) / C)


def test_bad_files_are_named_and_the_good_ones_stay(desk: Desk) -> None:
    old, new = desk.bundle("old"), desk.bundle("new", {"stack.lock": b"two\n"}, day=2)
    desk.receive(old)
    extra = {"e.whl": noise("e", 90_000), "f.whl": noise("f", 50_000), "g.whl": noise("g", 40_000)}
    new = desk.bundle("new", dict(extra), day=2)
    data = bytearray(extra["e.whl"])
    data[1000] ^= 1
    (new / "e.whl").write_bytes(data)
    (new / "f.whl").write_bytes(extra["f.whl"] + b"more")
    with pytest.raises(BundleError) as caught:
        desk.receive(new)
    text = str(caught.value)
    assert "2 of 4 files are bad" in text
    assert "e.whl: sha256 " in text
    assert "f.whl: 50001 bytes instead of 50000" in text
    assert desk.is_current(old)
    assert not desk.release(new).exists()
    good = desk.depot / "incoming" / desk.release(new).name / "g.whl"
    inode = good.stat().st_ino
    for path, content in extra.items():
        (new / path).write_bytes(content)
    received = desk.receive(new)
    assert received.copied == 140_000
    assert (desk.release(new) / "g.whl").stat().st_ino == inode
    assert desk.is_current(new)


def test_what_the_medium_lacks_is_named(desk: Desk) -> None:
    root = desk.bundle("one")
    (root / D).unlink()
    with pytest.raises(BundleError, match=f"1 files are missing: the source lacks.*\n  {D}"):
        desk.receive(root)


def test_extra_files_on_the_medium_do_not_come_along(desk: Desk) -> None:
    root = desk.bundle("one")
    (root / "toolkit/evil.pth").write_text("import os")
    desk.receive(root)
    assert not (desk.release(root) / "toolkit/evil.pth").exists()


@pytest.mark.parametrize(
    ("owner", "state"), [(None, "missing"), (STRANGER, "unknown")], ids=["none", "stranger"]
)
def test_without_a_trusted_signature_nothing_happens(
    desk: Desk, owner: str | None, state: str
) -> None:
    root = desk.maker.bundle(desk.folder / "one", owner=owner)
    with pytest.raises(BundleError, match=rf"manifest\.json\.asc: {state}"):
        desk.receive(root)
    assert current(desk.depot) is None
    received = desk.receive(root, allow_unsigned=True)
    assert received.switched
    assert contents(desk.release(root)) == contents(root)


def test_a_signature_that_does_not_fit_is_refused_whatever_is_allowed(desk: Desk) -> None:
    root, other = desk.bundle("one"), desk.bundle("two", {D: None})
    (root / sign.SIGNATURE).write_bytes((other / sign.SIGNATURE).read_bytes())
    for allowed in (False, True):
        with pytest.raises(BundleError, match=r"manifest\.json\.asc: bad"):
            desk.receive(root, allow_unsigned=allowed)


def test_a_repositorys_bad_signature_keeps_the_release_out(desk: Desk) -> None:
    root, other = desk.bundle("one"), desk.bundle("two", {REPOSITORY: b"other\n"})
    path = f"{REPOSITORY}.asc"
    good = (root / path).read_bytes()
    (root / path).write_bytes((other / path).read_bytes())
    with pytest.raises(BundleError, match=r"repomd\.xml\.asc: bad"):
        desk.receive(root)
    assert current(desk.depot) is None
    (root / path).write_bytes(good)
    assert desk.receive(root).copied == 0


def test_sign_itself_satisfies_a_depot(desk: Desk, tmp_path: Path) -> None:
    root = desk.maker.bundle(tmp_path / "one", owner=None)
    secret = tmp_path / "secret.asc"
    home = desk.maker.keys.home
    secret.write_bytes(desk.maker.keys._gpg("--armor", "--export-secret-keys", "=release"))
    assert home.is_dir()
    sign.sign(root, sign.SigningKey(str(secret)))
    assert desk.receive(root).switched


def test_an_older_release_is_refused_unless_wanted(desk: Desk) -> None:
    old, new = desk.bundle("old", day=5), desk.bundle("new", {D: None}, day=6)
    desk.receive(new)
    with pytest.raises(BundleError, match="signed 86400 seconds before the current") as caught:
        desk.receive(old)
    assert "--allow-downgrade" in caught.value.mend
    assert desk.is_current(new)
    assert not desk.release(old).exists()
    desk.receive(old, allow_downgrade=True)
    assert desk.is_current(old)


def test_a_newer_signature_of_the_same_release_is_taken(desk: Desk) -> None:
    root = desk.bundle("one", day=1)
    desk.receive(root)
    desk.maker.sign(root, day=9)
    desk.receive(root)
    assert contents(desk.release(root)) == contents(root)


def test_receiving_without_switching(desk: Desk) -> None:
    old, new = desk.bundle("old"), desk.bundle("new", {D: None}, day=2)
    desk.receive(old)
    assert not desk.receive(new, activate=False).switched
    assert desk.is_current(old)
    assert desk.receive(new).switched
    assert desk.is_current(new)


def test_a_current_that_is_a_bundle_elsewhere_is_replaced(desk: Desk) -> None:
    """bootstrap.sh, run from a medium, made the link."""
    old, new = desk.bundle("old", day=5), desk.bundle("new", {D: None}, day=4)
    desk.depot.mkdir()
    (desk.depot / "current").symlink_to(old)
    with pytest.raises(BundleError, match="before the current"):
        desk.receive(new)
    desk.receive(old)
    assert desk.is_current(old)


def test_a_current_whose_medium_is_gone_is_replaced(desk: Desk) -> None:
    root = desk.bundle("one")
    desk.depot.mkdir()
    (desk.depot / "current").symlink_to(desk.folder / "unplugged")
    desk.receive(root)
    assert desk.is_current(root)
    assert (desk.depot / "current").readlink() == Path("releases", desk.release(root).name)


def test_a_current_that_is_a_folder_is_left_alone(desk: Desk) -> None:
    root = desk.bundle("one")
    (desk.depot / "current").mkdir(parents=True)
    with pytest.raises(LandbridgeError, match="current: not a link"):
        desk.receive(root)
    assert (desk.depot / "current").is_dir()


def test_one_at_a_time(desk: Desk) -> None:
    root = desk.bundle("one")
    with (
        exclusive(desk.depot, "a test"),
        pytest.raises(LandbridgeError, match="is at work on it"),
    ):
        desk.receive(root)
    desk.receive(root)


def test_what_is_no_source_is_named(desk: Desk) -> None:
    root = desk.bundle("one")
    (desk.folder / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no bundle, delta or volume"):
        desk.receive(desk.folder / "empty")
    with pytest.raises(InputError, match="one: is not all that was given"):
        desk.receive(root, desk.folder / "empty")
    with pytest.raises(InputError, match="gone: no bundle"):
        desk.receive(desk.folder / "gone")
