from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from landbridge.bundle import docs, toolkit
from landbridge.bundle.fetch import Cache
from landbridge.errors import InputError
from landbridge.lock import Artifact, Kept, Lock, Part, merge
from landbridge.stack import Sources, Stack
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


STACK = Stack.model_validate({"name": "s", "targets": ["el9-x86_64"]})


class Home:
    """A site whose wheels and whose own wheel a test may change, with a cache."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.wheels = root / "wheels"
        self.cache = Cache(root / "cache")
        self._root, self._patch = root, patch
        wheel(self.wheels, "helper", "1.0")
        wheel(self.wheels, "base", "1.0")
        wheel(self.wheels, "pip", "99.0")
        patch.setenv("PIP_CONFIG_FILE", "/dev/null")
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(self.wheels))
        patch.setattr(toolkit, "COLLECTION_NAMES", ("ansible.posix",))
        self.own("helper")

    def own(self, *requires: str) -> Path:
        """From now on, this is our own wheel."""
        made = wheel(self._root / "own", "landbridge", "0.1.0", *requires)
        self._patch.setattr(toolkit, "_own_wheel", lambda _folder: made)
        return made

    def resolve(self, kept: Kept | None = None) -> Part:
        return toolkit.resolve(STACK, self.cache, kept)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(tmp_path, monkeypatch)


def lock_of(part: Part) -> Lock:
    return merge("s", ["el9-x86_64"], [part])


def versions(part: Part) -> dict[str, str]:
    return {a.name: a.version for a in part.artifacts if a.ecosystem == "toolkit"}


def artifact(lock: Lock, name: str) -> Artifact:
    return next(a for a in lock.artifacts if a.name == name)


def test_the_same_inputs_give_the_same_part(home: Home, tmp_path: Path) -> None:
    first = home.resolve()
    home.cache = Cache(tmp_path / "other")
    assert home.resolve() == first
    lock = lock_of(first)
    own = artifact(lock, "landbridge")
    assert (own.url, own.released) == ("built:landbridge-0.1.0-py3-none-any.whl", "")
    assert own.targets == ["3.11", "3.12", "3.13"]
    assert artifact(lock, "helper").required_by == ["landbridge"]
    assert artifact(lock, "ansible.posix").license.startswith("GNU GENERAL PUBLIC LICENSE, V")
    assert all(home.cache.has(a.sha256) for a in lock.artifacts if a.url.startswith("built:"))


def test_a_kept_toolkit_stays_and_an_update_is_of_what_it_names(home: Home) -> None:
    home.own("helper", "base")
    lock = lock_of(home.resolve())
    wheel(home.wheels, "helper", "2.0")
    wheel(home.wheels, "base", "2.0")
    assert lock_of(home.resolve(Kept(lock, frozenset()))) == lock
    moved = home.resolve(Kept(lock, frozenset({"helper"})))
    assert versions(moved) == {"landbridge": "0.1.0", "pip": "99.0", "helper": "2.0", "base": "1.0"}


def test_our_own_wheel_is_the_locked_one_while_the_cache_has_it(home: Home) -> None:
    lock = lock_of(home.resolve())
    home.own("helper", "base")
    assert lock_of(home.resolve(Kept(lock, frozenset()))) == lock


def test_our_own_wheel_is_new_where_that_is_asked_for_or_cannot_be_otherwise(
    home: Home, tmp_path: Path
) -> None:
    lock = lock_of(home.resolve())
    home.own("helper", "base")
    wheel(home.wheels, "helper", "2.0")
    asked = home.resolve(Kept(lock, frozenset({"landbridge"})))
    home.cache = Cache(tmp_path / "empty")
    forced = home.resolve(Kept(lock, frozenset()))
    assert asked == forced
    assert versions(asked) == {"landbridge": "0.1.0", "pip": "99.0", "helper": "1.0", "base": "1.0"}
    old, new = artifact(lock, "landbridge"), artifact(lock_of(asked), "landbridge")
    assert old.sha256 != new.sha256


def test_what_has_no_source_is_made_again(home: Home, tmp_path: Path) -> None:
    lock = lock_of(home.resolve())
    empty = Cache(tmp_path / "empty")
    for name in ("landbridge", "ansible.posix"):
        toolkit.make(artifact(lock, name), Sources(), empty)
        assert empty.has(artifact(lock, name).sha256)


@pytest.mark.parametrize(
    ("name", "what"),
    [("landbridge", "landbridge"), ("ansible.posix", "collection ansible.posix")],
)
def test_what_cannot_be_made_again_says_what_to_update(
    home: Home, tmp_path: Path, name: str, what: str
) -> None:
    locked = artifact(lock_of(home.resolve()), name)
    other = locked.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(InputError, match=f"made with another {what}\n.*--update {name} STACK"):
        toolkit.make(other, Sources(), Cache(tmp_path / "empty"))
    assert not list((tmp_path / "empty").rglob("*.whl"))
    toolkit.make(locked, Sources(), home.cache)


def test_our_own_wheel_is_built_the_same_each_time(tmp_path: Path) -> None:
    """What `make` relies on."""
    tree = Path(__file__).parents[3]
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        toolkit._build_wheel(tree, tmp_path / folder)
    one, two = (next((tmp_path / folder).iterdir()) for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    docs.write(one, tmp_path / "docs")
    pages = {path.name for path in (tree / "docs").glob("*.md")} | {"README.md", "images"}
    assert {path.name for path in (tmp_path / "docs").iterdir()} == pages
    assert {path.name for path in (tmp_path / "docs/images").iterdir()} == {
        path.name for path in (tree / "docs/images").iterdir()
    }
    linked = re.findall(r"\]\(([a-z-]+\.md)\)", (tmp_path / "docs/README.md").read_text())
    assert "architecture.md" in linked
    assert set(linked) <= pages
