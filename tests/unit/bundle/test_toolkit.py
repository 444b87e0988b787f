from __future__ import annotations

import importlib.metadata
import json
import sys
import tarfile
import zipfile
from pathlib import Path

from landbridge.bundle import toolkit
from tests.unit.small_upstreams import tool, wheel


def test_an_installed_wheel_is_put_together_again(tmp_path: Path) -> None:
    """From a wheel, as users have it: pip takes the result, and it is the same each time."""
    original = wheel(tmp_path, "landbridge", "0.1.0", "requests>=2")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    tool(*install, "--target", tmp_path / "site", original)
    (installed,) = importlib.metadata.distributions(
        name="landbridge", path=[str(tmp_path / "site")]
    )
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        toolkit._repack_wheel(installed, tmp_path / folder)
    name = "landbridge-0.1.0-py3-none-any.whl"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with zipfile.ZipFile(tmp_path / "one" / name) as made, zipfile.ZipFile(original) as given:
        assert sorted(made.namelist()) == sorted(given.namelist())
        assert made.read("landbridge.py") == given.read("landbridge.py")
    tool(*install, "--target", tmp_path / "again", tmp_path / "one" / name)


def test_a_collection_is_packed_with_true_checksums(tmp_path: Path) -> None:
    source = tmp_path / "c"
    (source / "plugins/__pycache__").mkdir(parents=True)
    (source / "plugins/__pycache__/x.pyc").write_bytes(b"x")
    (source / "plugins/a.py").write_text("a = 1\n")
    manifest = {
        "collection_info": {"namespace": "n", "name": "c", "version": "1.0.0"},
        "file_manifest_file": {"name": "FILES.json", "chksum_sha256": "wrong", "format": 1},
        "format": 1,
    }
    packed = toolkit.pack_collection(source, manifest)
    assert packed == toolkit.pack_collection(source, manifest)
    (tmp_path / "c.tar.gz").write_bytes(packed)
    with tarfile.open(tmp_path / "c.tar.gz") as tar:
        names = tar.getnames()
        files = json.load(tar.extractfile("FILES.json"))["files"]
    assert names == ["MANIFEST.json", "FILES.json", "plugins", "plugins/a.py"]
    assert [entry["name"] for entry in files] == [".", "plugins", "plugins/a.py"]


def test_the_id_follows_the_toolkit_and_nothing_else() -> None:
    files = {"toolkit/a": "1", "collections/b": "2", "rpm/c": "3"}
    same = {**files, "rpm/c": "4"}
    other = {**files, "collections/b": "5"}
    assert toolkit.toolkit_id(files) == toolkit.toolkit_id(same) != toolkit.toolkit_id(other)
