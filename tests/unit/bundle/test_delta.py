"""A delta carries what the receiver lacks, once, and the texts compressed."""

from __future__ import annotations

import hashlib
import json
import lzma
import tarfile
from pathlib import Path

import pytest

from landbridge.bundle import manifest
from landbridge.bundle.delta import METADATA, delta
from landbridge.bundle.manifest import Entry
from landbridge.errors import BundleError, InputError
from tests.unit.bundle_maker import BASE, REPOSITORY, Maker, contents, noise

NEW = {
    "stack.lock": b"name: two\n" * 400,
    "conda/noarch/c2.conda": noise("c2", 100_000),
    "conda/noarch/c.conda": None,
    REPOSITORY: b"<repomd>2</repomd>\n",
}


def release(root: Path) -> str:
    return manifest.read_manifest(root)[0]


def packed(folder: Path) -> dict[str, bytes]:
    with tarfile.open(folder / METADATA) as tar:
        files = {info.name: tar.extractfile(info) for info in tar}
        return {name: file.read() for name, file in files.items() if file}


def test_only_what_is_new_travels(maker: Maker, tmp_path: Path) -> None:
    old, new = maker.bundle(tmp_path / "old"), maker.bundle(tmp_path / "new", NEW)
    made = delta(new, [old / "manifest.json"], tmp_path / "delta")
    assert (made.release, made.bases) == (release(new), [release(old)])
    loose = {"delta.json", METADATA, "manifest.json.asc", f"{REPOSITORY}.asc"}
    assert contents(tmp_path / "delta").keys() == {*loose, "conda/noarch/c2.conda"}
    texts = packed(tmp_path / "delta")
    assert next(iter(texts)) == "manifest.json"
    assert texts.keys() == {"manifest.json", "stack.lock", "content.json", REPOSITORY}
    assert all(content == (new / path).read_bytes() for path, content in texts.items())
    assert made.files == 4
    assert made.size == sum(map(len, contents(tmp_path / "delta").values()))


def test_unchanged_packages_are_links_and_texts_cost_little(maker: Maker, tmp_path: Path) -> None:
    old, new = maker.bundle(tmp_path / "old"), maker.bundle(tmp_path / "new", NEW)
    made = delta(new, [old / "manifest.json"], tmp_path / "delta")
    assert (tmp_path / "delta/conda/noarch/c2.conda").samefile(new / "conda/noarch/c2.conda")
    assert made.size < 1.05 * 100_000


def test_the_same_inputs_give_the_same_bytes(maker: Maker, tmp_path: Path) -> None:
    old, new = maker.bundle(tmp_path / "old"), maker.bundle(tmp_path / "new", NEW)
    delta(new, [old], tmp_path / "one")
    delta(new, [old], tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_content_counts_and_not_its_path(maker: Maker, tmp_path: Path) -> None:
    moved = {"conda/noarch/c.conda": None, "conda/linux-64/c.conda": BASE["conda/noarch/c.conda"]}
    twice = {"pypi/e.whl": noise("e", 9000), "pypi/f.whl": noise("e", 9000)}
    old, new = maker.bundle(tmp_path / "old"), maker.bundle(tmp_path / "new", {**moved, **twice})
    delta(new, [old], tmp_path / "delta")
    loose = {path for path in contents(tmp_path / "delta") if path.startswith(("conda", "pypi"))}
    assert loose == {"pypi/e.whl"}


def test_several_manifests_count_together(maker: Maker, tmp_path: Path) -> None:
    one = maker.bundle(tmp_path / "one", {"x.rpm": noise("x", 9000)})
    two = maker.bundle(tmp_path / "two", {"y.rpm": noise("y", 9000)})
    both = {"x.rpm": noise("x", 9000), "y.rpm": noise("y", 9000), "z.rpm": noise("z", 9000)}
    new = maker.bundle(tmp_path / "new", both)
    named = tmp_path / "two.json"
    named.write_bytes((two / "manifest.json").read_bytes())
    made = delta(new, [one / "manifest.json", named], tmp_path / "delta")
    assert made.bases == [release(one), release(two)]
    assert [path for path in contents(tmp_path / "delta") if path.endswith(".rpm")] == ["z.rpm"]


def test_an_older_delta_is_replaced_and_nothing_else(maker: Maker, tmp_path: Path) -> None:
    old, new = maker.bundle(tmp_path / "old"), maker.bundle(tmp_path / "new", NEW)
    delta(new, [old], tmp_path / "delta")
    delta(old, [new], tmp_path / "delta")
    assert json.loads((tmp_path / "delta/delta.json").read_text())["release"] == release(old)
    assert not (tmp_path / "delta/conda/noarch/c2.conda").exists()
    with pytest.raises(InputError, match="is not a delta"):
        delta(new, [old], old)


def test_bad_input_is_named(maker: Maker, tmp_path: Path) -> None:
    new = maker.bundle(tmp_path / "new", NEW)
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(InputError, match=r"notes\.json: damaged"):
        delta(new, [tmp_path / "notes.json"], tmp_path / "delta")
    with pytest.raises(InputError, match=r"gone\.json: No such file"):
        delta(new, [tmp_path / "gone.json"], tmp_path / "delta")


@pytest.mark.parametrize("path", ["stack.lock", "conda/noarch/c2.conda"])
def test_a_damaged_bundle_makes_no_delta(maker: Maker, tmp_path: Path, path: str) -> None:
    old, new = maker.bundle(tmp_path / "old"), maker.bundle(tmp_path / "new", NEW)
    (new / path).write_bytes(b"short")
    with pytest.raises(BundleError, match=path):
        delta(new, [old], tmp_path / "delta")
    assert not (tmp_path / "delta").exists()


def test_the_compressed_texts_are_a_plain_tar(maker: Maker, tmp_path: Path) -> None:
    old, new = maker.bundle(tmp_path / "old"), maker.bundle(tmp_path / "new", NEW)
    delta(new, [old], tmp_path / "delta")
    raw = lzma.decompress((tmp_path / "delta" / METADATA).read_bytes())
    lock = NEW["stack.lock"]
    assert lock and lock in raw
    entry = manifest.read_manifest(new)[1]["stack.lock"]
    assert entry == Entry(hashlib.sha256(lock).hexdigest(), len(lock))
