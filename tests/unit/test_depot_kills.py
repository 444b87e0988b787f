"""Killed at random moments, a receive leaves the old release as it was and can be continued."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from landbridge.errors import LandbridgeError
from tests.unit.bundle_maker import Maker, contents, noise
from tests.unit.depot_desk import Desk

KILLS = 30
NEW = {
    "stack.lock": b"name: two\n" * 400,
    "conda/noarch/n.conda": noise("n", 4_000_000),
    **{f"rpm/el9-x86_64/Packages/n{i}.rpm": noise(f"n{i}", 60_000) for i in range(20)},
}


@pytest.fixture
def desk(maker: Maker, tmp_path: Path) -> Desk:
    return Desk(maker, tmp_path)


def start(desk: Desk, sources: Sequence[Path]) -> int:
    """Receive in a process of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    # What it leaves behind in /tmp goes with the test.
    tempfile.tempdir = str(desk.folder)
    try:
        desk.receive(*sources)
        code = 0
    except LandbridgeError as error:
        print(error)
    finally:
        os._exit(code)


def kill_often(desk: Desk, sources: Sequence[Path], old: Path, new: Path) -> None:
    """Kill receives at random moments of the time that one takes, until so many were met."""
    names = {desk.release(old).name, desk.release(new).name}
    before, pristine = contents(desk.release(old)), desk.folder / "pristine"
    shutil.copytree(desk.depot, pristine, symlinks=True)
    began = time.monotonic()
    assert os.waitpid(start(desk, sources), 0)[1] == 0
    takes, chance, met = time.monotonic() - began, random.Random(11), 0
    while met < KILLS:
        if desk.release(new).exists():
            shutil.rmtree(desk.depot)
            shutil.copytree(pristine, desk.depot, symlinks=True)
        child = start(desk, sources)
        time.sleep(chance.uniform(0, takes))
        os.kill(child, signal.SIGKILL)
        met += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert contents(desk.release(old)) == before
        assert {path.name for path in (desk.depot / "releases").iterdir()} <= names
        if desk.is_current(old):
            continue
        assert desk.is_current(new)
        assert contents(desk.release(new)) == contents(new)


@pytest.mark.parametrize("kind", ["bundle", "delta", "volumes", "volumes of a delta"])
def test_a_killed_receive_goes_on(desk: Desk, kind: str) -> None:
    old, new = desk.bundle("old"), desk.bundle("new", NEW, day=2)
    desk.receive(old)
    sources: Sequence[Path] = [new]
    if "delta" in kind:
        sources = [desk.delta(new, old)]
    if "volumes" in kind:
        sources = desk.volumes(sources[0], 1_500_000)
    kill_often(desk, sources, old, new)
    desk.receive(*sources)
    assert desk.is_current(new)
    assert contents(desk.release(new)) == contents(new)
    assert contents(desk.release(old)) == contents(old)
    left = [path.name for path in (desk.depot / "incoming").iterdir()]
    assert [name for name in left if not name.startswith(desk.release(new).name)] == []
