"""The releases of a depot: listed, switched, pruned."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from landbridge.depot import current, prune, releases, switch
from landbridge.errors import BundleError, InputError
from tests.unit.bundle_maker import BASE, Maker, contents, noise
from tests.unit.depot_desk import Desk
from tests.unit.openpgp import DAY, EARLY

C, D = "conda/noarch/c.conda", "pypi/simple/d/d.whl"


@pytest.fixture
def desk(maker: Maker, tmp_path: Path) -> Desk:
    return Desk(maker, tmp_path)


@pytest.fixture
def three(desk: Desk) -> list[Path]:
    """Bundles of three days, in the depot; the newest is current, the middle one came last."""
    made = [desk.bundle(f"r{d}", {"x.rpm": noise(f"x{d}", 1000 * d)}, d) for d in (1, 2, 3)]
    desk.receive(made[0])
    desk.receive(made[2])
    desk.receive(made[1], allow_downgrade=True)
    switch(desk.depot, desk.release(made[2]).name)
    return made


def test_the_list_has_the_newest_first(desk: Desk, three: list[Path]) -> None:
    found = releases(desk.depot)
    assert [release.name for release in found] == [desk.release(b).name for b in three[::-1]]
    assert [release.signed for release in found] == [EARLY + day * DAY for day in (3, 2, 1)]
    assert [release.current for release in found] == [True, False, False]
    assert found[0].size == sum(map(len, contents(three[2]).values()))
    assert found[0].files == len(contents(three[2]))


def test_what_is_its_own_is_what_removing_it_frees(desk: Desk, three: list[Path]) -> None:
    listed = {release.name: release.unique for release in releases(desk.depot)}
    name = desk.release(three[0]).name
    own = {path for path in contents(three[0]) if path not in BASE}
    assert listed[name] == sum((three[0] / path).stat().st_size for path in own)


def test_prune_keeps_the_newest_and_what_they_share(desk: Desk, three: list[Path]) -> None:
    assert prune(desk.depot, 2) == [desk.release(three[0]).name]
    for bundle in three[1:]:
        assert contents(desk.release(bundle)) == contents(bundle)
    assert not desk.release(three[0]).exists()
    assert list((desk.depot / "incoming").iterdir()) == []


def test_prune_never_takes_the_current_one(desk: Desk, three: list[Path]) -> None:
    switch(desk.depot, desk.release(three[0]).name, allow_downgrade=True)
    assert prune(desk.depot, 1) == [desk.release(three[1]).name]
    assert desk.is_current(three[0])
    assert contents(desk.release(three[0])) == contents(three[0])


def test_prune_needs_one_to_keep(desk: Desk, three: list[Path]) -> None:
    with pytest.raises(InputError, match="--keep 0"):
        prune(desk.depot, 0)
    assert len(releases(desk.depot)) == len(three)


def test_prune_drops_what_was_left_of_receives_that_ended(desk: Desk, three: list[Path]) -> None:
    name = desk.release(three[2]).name
    incoming = desk.depot / "incoming"
    shutil.copytree(desk.release(three[2]), incoming / name)
    (incoming / f"{name}.volumes.json").write_text("{}")
    (incoming / ".landbridge-small-000000000000").mkdir()
    (incoming / "small-111111111111").mkdir()
    prune(desk.depot, 3)
    assert [path.name for path in incoming.iterdir()] == ["small-111111111111"]


def test_back_to_an_older_release_and_forth(desk: Desk, three: list[Path]) -> None:
    old, new = desk.release(three[0]).name, desk.release(three[2]).name
    with pytest.raises(BundleError, match="before the current"):
        switch(desk.depot, old)
    assert current(desk.depot) == new
    assert switch(desk.depot, old, allow_downgrade=True)
    assert current(desk.depot) == old
    assert not switch(desk.depot, old)
    assert switch(desk.depot, new)


@pytest.mark.parametrize("name", ["small-000000000000", "../releases", "/etc", ""])
def test_only_releases_that_are_here_can_be_current(
    desk: Desk, three: list[Path], name: str
) -> None:
    with pytest.raises(InputError, match="no release"):
        switch(desk.depot, name)
    assert desk.is_current(three[2])


def test_an_empty_depot_has_nothing(desk: Desk) -> None:
    assert releases(desk.depot) == []
    assert current(desk.depot) is None


def test_unsigned_releases_are_in_the_order_in_which_they_came(desk: Desk) -> None:
    made = [
        desk.maker.bundle(desk.folder / name, {"x.rpm": noise(name, 500)}, owner=None)
        for name in ("b", "a", "c")
    ]
    for bundle in made:
        desk.receive(bundle, allow_unsigned=True)
    assert [r.name for r in releases(desk.depot)] == [desk.release(b).name for b in made[::-1]]
