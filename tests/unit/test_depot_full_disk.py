"""A depot on a small filesystem: refused early, continued after it was full, no copy too many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bundle_maker import Maker, contents, noise
from tests.unit.depot_desk import Desk

PAGE = 4096
ROOT = Path(__file__).parents[2]
# Run in a mount namespace of its own, where nobody else sees the small filesystem.
SCRIPT = """
import json, os, shutil, sys
from pathlib import Path
from landbridge.depot import current, receive
from landbridge.errors import LandbridgeError
from tests.unit.bundle_maker import contents

disk, key, job = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
depot, said = disk / "depot", []

def run(sources, **options):
    try:
        receive([Path(s) for s in sources], depot, [key], **options)
        said.append("")
    except LandbridgeError as error:
        said.append(str(error))

def fill(_new, _total):
    with (disk / "filler").open("ab") as file:
        try:
            for size in (1 << 20, 1 << 12):
                while True:
                    file.write(bytes(size))
                    file.flush()
        except OSError:
            pass

"""
MIDWAY = """
run(job["old"])
run(job["new"], tell=fill)
said.append(current(depot))
(disk / "filler").unlink()
run(job["new"])
said.append(current(depot))
"""
EARLY = """
run(job["old"])
run(job["new"])
said.append(current(depot))
said.append(sorted(p.name for p in (depot / "incoming").rglob("n*")))
"""
CARRY = """
free = shutil.disk_usage(disk).free
for name in job["new"]:
    volume = shutil.copy(name, disk)
    shutil.copy(name + ".sha256", disk)
    run([volume])
    os.unlink(volume)
said.append(free)
"""
END = """
whole = {k: len(v) for k, v in contents(depot / "current").items()} if current(depot) else {}
print(json.dumps({"said": said, "whole": whole}))
"""


def on_small_disk(desk: Desk, size: int, script: str, **job: list[Path]) -> dict[str, Any]:
    """Run a script with a tmpfs of so many bytes, as root or in a user namespace."""
    disk = desk.folder / "disk"
    disk.mkdir()
    words = [disk, desk.maker.trusted]
    paths = json.dumps({name: [str(path) for path in given] for name, given in job.items()})
    mount = f'mount -t tmpfs -o size={size} tmpfs "$1" && exec "$0" -c "$CODE" "$@"'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", *user, "--mount", "sh", "-c", mount, sys.executable, *words, paths]
    done = subprocess.run(
        command,
        env={**os.environ, "CODE": SCRIPT + script + END, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def desk(maker: Maker, tmp_path: Path) -> Desk:
    return Desk(maker, tmp_path)


def size_of(bundle: Path) -> int:
    """Bytes on a disk that gives out whole pages."""
    return sum(-(-len(data) // PAGE) * PAGE for data in contents(bundle).values())


def lengths(bundle: Path) -> dict[str, int]:
    return {path: len(data) for path, data in contents(bundle).items()}


NEW = {f"rpm/el9-x86_64/Packages/n{i}.rpm": noise(f"n{i}", 300_000) for i in range(10)}


@pytest.mark.parametrize("kind", ["bundle", "volumes"])
def test_a_disk_that_fills_up_is_named_and_the_receive_continued(desk: Desk, kind: str) -> None:
    old, new = desk.bundle("old"), desk.bundle("new", NEW, day=2)
    sources = desk.volumes(new, 800_000) if kind == "volumes" else [new]
    size = size_of(old) + 3_000_000 + 400_000
    result = on_small_disk(desk, size, MIDWAY, old=[old], new=sources)
    first, full, before, again, after = result["said"]
    assert (first, again) == ("", "")
    assert "the disk is full" in full
    assert "No space left on device" in full
    assert "it goes on" in full
    assert before == desk.release(old).name
    assert after == desk.release(new).name
    assert result["whole"] == lengths(new)


def test_too_little_space_is_told_before_anything_is_copied(desk: Desk) -> None:
    old, new = desk.bundle("old"), desk.bundle("new", NEW, day=2)
    size = size_of(old) + 2_000_000
    result = on_small_disk(desk, size, EARLY, old=[old], new=[new])
    first, refused, now, begun = result["said"]
    assert first == ""
    name = desk.release(new).name
    wanted = 3_000_000 + (new / "content.json").stat().st_size
    assert f"receiving {name} needs {wanted} bytes" in refused
    assert now == desk.release(old).name
    assert begun == []


def test_volumes_need_the_release_and_one_volume(desk: Desk) -> None:
    new = desk.bundle("new", NEW)
    volumes = desk.volumes(new, 700_000)
    assert len(volumes) > 8
    # What the folders, the notes and two small files take beside them, in pages.
    allowance = 40 * PAGE
    size = size_of(new) + 700_000 + allowance
    result = on_small_disk(desk, size, CARRY, new=volumes)
    *steps, last, free = result["said"]
    assert last == ""
    assert all("missing; what came is kept" in text for text in steps)
    assert free <= size + PAGE
    assert result["whole"] == lengths(new)
