"""Volumes: plain tars of at most the given size, each with all that is needed to judge it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from landbridge.bundle import manifest
from landbridge.bundle.delta import delta
from landbridge.bundle.volumes import parse_size, split
from landbridge.errors import BundleError, InputError
from tests.unit.bundle_maker import BASE, REPOSITORY, Maker, contents, noise

SIZE = 400_000
LONG = f"pypi/simple/long/{'n' * 150}.whl"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("700M", 700 << 20),
        ("4G", 4 << 30),
        ("4g", 4 << 30),
        ("4GB", 4_000_000_000),
        ("2KB", 2000),
        ("1T", 1 << 40),
    ],
)
def test_sizes_are_those_of_coreutils(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "G", "4 G", "-1", "1.5G", "4GiB", "4B", "4X"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a size"):
        parse_size(text)


def joined(folder: Path) -> dict[str, bytes]:
    """What a person gets with tar and cat."""
    parts: dict[str, bytes] = {}
    for volume in sorted(folder.glob("*.tar")):
        with tarfile.open(volume) as tar:
            for info in tar:
                file = tar.extractfile(info)
                assert file is not None
                parts[info.name] = file.read()
    whole: dict[str, bytes] = {}
    for name in sorted(parts):
        path = re.sub(r"\.from-\d{15}$", "", name)
        whole[path] = whole.get(path, b"") + parts[name]
    del whole["volume.json"]
    return whole


def test_all_volumes_together_are_the_bundle(maker: Maker, tmp_path: Path) -> None:
    root = maker.bundle(tmp_path / "bundle", {LONG: noise("long", 5000)})
    made = split(root, tmp_path / "volumes", SIZE)
    files = sorted((tmp_path / "volumes").glob("*.tar"))
    assert [file.name for file in files] == made.volumes
    assert len(files) == 9
    assert made.volumes[0] == f"{made.release}.volume-001-of-009.tar"
    assert all(file.stat().st_size <= SIZE for file in files)
    assert made.size == sum(file.stat().st_size for file in files)
    assert joined(tmp_path / "volumes") == contents(root)


def test_gnu_tar_and_sha256sum_accept_them(maker: Maker, tmp_path: Path) -> None:
    root, volumes = maker.bundle(tmp_path / "bundle"), tmp_path / "volumes"
    split(root, volumes, SIZE)
    sums = [path.name for path in volumes.glob("*.sha256")]
    subprocess.run(["sha256sum", "--check", "--strict", *sums], cwd=volumes, check=True)
    for volume in volumes.glob("*.tar"):
        subprocess.run(["tar", "-xf", volume, "-C", tmp_path], check=True)
    assert (tmp_path / "bootstrap.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "stack.lock").read_bytes() == BASE["stack.lock"]


def test_the_documented_way_without_a_toolkit_gives_the_bundle(
    maker: Maker, tmp_path: Path
) -> None:
    root, volumes = maker.bundle(tmp_path / "bundle"), tmp_path / "vol umes"
    split(root, volumes, SIZE)
    text = (Path(__file__).parents[3] / "docs/transfer.md").read_text()
    script = text.split("```bash\n")[1].split("```")[0]
    environment = {**os.environ, "DIR": str(tmp_path / "by hand"), "MEDIA": str(volumes)}
    subprocess.run(["bash", "-euc", script], env=environment, check=True)
    (tmp_path / "by hand/volume.json").unlink()
    assert contents(tmp_path / "by hand") == contents(root)


def test_each_volume_can_be_judged_alone(maker: Maker, tmp_path: Path) -> None:
    root, volumes = maker.bundle(tmp_path / "bundle"), tmp_path / "volumes"
    made = split(root, volumes, SIZE)
    for number, name in enumerate(made.volumes, 1):
        with tarfile.open(volumes / name) as tar:
            names = tar.getnames()
            about = tar.extractfile("volume.json")
            assert about is not None
            fields = json.load(about)
            assert (fields["number"], fields["count"]) == (number, len(made.volumes))
            head = ["manifest.json", "manifest.json.asc", f"{REPOSITORY}.asc"]
            assert names[:4] == ["volume.json", *head]
            assert len(names) == 4 + len(fields["pieces"])


def test_what_a_bare_node_needs_comes_first(maker: Maker, tmp_path: Path) -> None:
    root, volumes = maker.bundle(tmp_path / "bundle"), tmp_path / "volumes"
    made = split(root, volumes, SIZE)
    with tarfile.open(volumes / made.volumes[0]) as tar:
        assert tar.getnames()[4:11] == [
            "bootstrap.sh",
            "content.json",
            "rpm/keys/RPM-GPG-KEY-base",
            "toolkit/requirements-3.11.txt",
            "toolkit/requirements-3.12.txt",
            "toolkit/wheels/tool.whl",
            REPOSITORY,
        ]


def test_the_same_bundle_gives_the_same_bytes(maker: Maker, tmp_path: Path) -> None:
    root = maker.bundle(tmp_path / "bundle")
    split(root, tmp_path / "one", SIZE)
    split(root, tmp_path / "two", SIZE)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_least_size_that_is_named_works(maker: Maker, tmp_path: Path) -> None:
    root = maker.bundle(tmp_path / "bundle", {"conda/noarch/c.conda": None})
    with pytest.raises(InputError, match="too small") as caught:
        split(root, tmp_path / "volumes", 1000)
    found = re.search(r"at least (\d+)", caught.value.mend)
    assert found
    least = int(found[1])
    split(root, tmp_path / "volumes", least)
    assert max(path.stat().st_size for path in (tmp_path / "volumes").iterdir()) <= least
    assert joined(tmp_path / "volumes") == contents(root)
    with pytest.raises(InputError):
        split(root, tmp_path / "volumes", least - 1)


def test_a_delta_is_split_too(maker: Maker, tmp_path: Path) -> None:
    old = maker.bundle(tmp_path / "old")
    changes = {"stack.lock": b"new\n", "conda/noarch/n.conda": noise("n", 900_000)}
    new = maker.bundle(tmp_path / "new", changes)
    delta(new, [old], tmp_path / "delta")
    made = split(tmp_path / "delta", tmp_path / "volumes", SIZE)
    signatures = {"manifest.json.asc", f"{REPOSITORY}.asc"}
    names = {"manifest.json", "content.json", *signatures, *changes}
    assert joined(tmp_path / "volumes").keys() == names
    assert made.release == manifest.read_manifest(new)[0]


def test_older_volumes_are_replaced_and_nothing_else(maker: Maker, tmp_path: Path) -> None:
    root = maker.bundle(tmp_path / "bundle")
    split(root, tmp_path / "volumes", SIZE)
    made = split(root, tmp_path / "volumes", 4 * SIZE)
    assert {path.name for path in (tmp_path / "volumes").glob("*.tar")} == set(made.volumes)
    with pytest.raises(InputError, match="other things than volumes"):
        split(root, root, SIZE)
    assert (root / "manifest.json").is_file()


@pytest.mark.parametrize("path", ["conda/noarch/c.conda", "stack.lock"])
@pytest.mark.parametrize("how", ["altered", "short", "gone"])
def test_a_damaged_bundle_makes_no_volumes(
    maker: Maker, tmp_path: Path, path: str, how: str
) -> None:
    root = maker.bundle(tmp_path / "bundle")
    data = bytearray((root / path).read_bytes())
    data[-1] ^= 1
    (root / path).unlink()
    if how != "gone":
        (root / path).write_bytes(data if how == "altered" else data[:-1])
    with pytest.raises(BundleError, match=path):
        split(root, tmp_path / "volumes", SIZE)
    assert not (tmp_path / "volumes").exists()


def test_the_checksum_is_that_of_the_file(maker: Maker, tmp_path: Path) -> None:
    root, volumes = maker.bundle(tmp_path / "bundle"), tmp_path / "volumes"
    name = split(root, volumes, SIZE).volumes[2]
    digest = hashlib.sha256((volumes / name).read_bytes()).hexdigest()
    assert (volumes / f"{name}.sha256").read_text() == f"{digest}  {name}\n"
