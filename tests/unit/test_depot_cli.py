"""The journey on the command line: delta, volumes, receive, list, back, prune."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from landbridge.bundle import manifest
from tests.unit.bundle_maker import Maker, contents, noise
from tests.unit.depot_desk import Desk


def landbridge(*words: str | Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("landbridge")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def told(*words: str | Path) -> Any:
    """What a command prints as JSON."""
    done = landbridge(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def desk(maker: Maker, tmp_path: Path) -> Desk:
    return Desk(maker, tmp_path)


def test_the_journey(desk: Desk) -> None:
    old = desk.bundle("old")
    new = desk.bundle("new", {"n.conda": noise("n", 900_000)}, day=2)
    names = [manifest.read_manifest(bundle)[0] for bundle in (old, new)]
    here, key = ("--depot", desk.depot), ("--key", desk.maker.trusted)

    first = told("depot", "receive", old, *here, *key)
    assert (first["release"], first["switched"]) == (names[0], True)

    parts = ("--have", old / "manifest.json", "--output", desk.folder / "d")
    made = told("bundle", "delta", new, *parts, "--volume-size", "500K")
    assert (made["release"], made["bases"]) == (names[1], [names[0]])
    volumes = [desk.folder / "d.volumes" / name for name in made["volumes"]["volumes"]]
    assert len(volumes) == 2

    half = landbridge("depot", "receive", volumes[1], *here, *key)
    assert half.returncode == 1
    missing = f"release {names[1]}: volume 1 of 2 is missing; what came is kept"
    assert f"error: {missing}\n" in half.stderr
    assert told("depot", "current", *here)["release"] == names[0]
    done = landbridge("depot", "receive", volumes[0], *here, *key)
    assert done.returncode == 0, done.stderr
    assert f"next: run {desk.depot}/current/bootstrap.sh as root" in done.stdout
    assert contents(desk.depot / "current") == contents(new)

    listed = told("depot", "list", *here)
    assert [(r["name"], r["current"]) for r in listed] == [(names[1], True), (names[0], False)]
    table = landbridge("depot", "list", *here).stdout
    assert f"* │ {names[1]}" in table
    assert "2020-01-03 00:00 UTC" in table

    refused = landbridge("depot", "current", names[0], *here)
    assert refused.returncode == 1
    assert "--allow-downgrade" in refused.stderr
    assert told("depot", "current", names[0], "--allow-downgrade", *here)["switched"]
    assert told("depot", "current", names[1], *here)["switched"]
    assert told("depot", "prune", "--keep", "1", *here) == {"removed": [names[0]]}
    assert contents(desk.depot / "current") == contents(new)


def test_a_bundle_is_split(desk: Desk) -> None:
    root = desk.bundle("one")
    output = desk.folder / "volumes"
    made = told("bundle", "split", root, "--volume-size", "1MB", "--output", output)
    assert sorted(path.name for path in output.glob("*.tar")) == made["volumes"]
    assert max(path.stat().st_size for path in output.iterdir()) <= 1_000_000


def test_wrong_input_exits_2(desk: Desk) -> None:
    root = desk.bundle("one")
    words = ("--output", desk.folder / "v")
    done = landbridge("bundle", "split", root, "--volume-size", "many", *words)
    assert done.returncode == 2
    assert "size 'many': not a size" in done.stderr
    done = landbridge("depot", "receive", desk.folder / "nothing", "--depot", desk.depot)
    assert done.returncode == 2


def test_without_a_trusted_key_the_exit_code_is_1(desk: Desk) -> None:
    root = desk.maker.bundle(desk.folder / "one", owner=None)
    words = ("depot", "receive", root, "--depot", desk.depot)
    done = landbridge(*words, "--key", desk.maker.trusted)
    assert done.returncode == 1
    assert "manifest.json.asc: missing" in done.stderr
    assert landbridge(*words, "--allow-unsigned").returncode == 0
    assert landbridge("depot", "current", "--depot", desk.folder / "none").returncode == 1
