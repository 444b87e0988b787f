"""Module landbridge_image_store with the real skopeo, on a store of its own."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load
from tests.unit.roles.oci_layout import write_layout

NAME = "localhost/tools/tiny:1"
OTHER = "localhost/tools/other:1"


class Shared:
    """A shared store, and the module on it."""

    def __init__(self, run: Runner, folder: Path) -> None:
        self.run = run
        self.layout = folder / "images"
        self.path = folder / "shared"
        self.record = folder / "state" / "images.json"
        self.needed: set[str] = set()

    def __call__(self, images: list[dict[str, str]], *, check: bool = False) -> dict[str, Any]:
        arguments = {"path": str(self.path), "layout": str(self.layout), "users": []}
        return self.run(images=images, check=check, **arguments)

    def only(self, path: str = "", *, check: bool = False) -> dict[str, Any]:
        return self.run(path=path, users=[], state="only", check=check)

    def images(self) -> list[dict[str, Any]]:
        listed = json.loads((self.path / "overlay-images/images.json").read_text())
        return sorted(listed, key=lambda image: sorted(image.get("names") or []))

    def names(self) -> list[str]:
        """Names of the images; one without a name counts as an empty one."""
        return [",".join(sorted(image.get("names") or [])) for image in self.images()]

    def diff(self, name: str) -> Path:
        """The directory of the image's one layer."""
        (layer,) = [i["layer"] for i in self.images() if name in (i.get("names") or [])]
        return self.path / "overlay" / layer / "diff"


def mounted(path: Path) -> bool:
    return f" {path} " in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shared]:
    module = load("podman", "landbridge_image_store")
    made = Shared(Runner(module, capsys), tmp_path)
    monkeypatch.setattr(module, "IMAGES", made.record)
    monkeypatch.setattr(module, "RUNROOT", str(tmp_path / "run"))
    monkeypatch.setattr(module, "needed_by", lambda _users: made.needed)
    yield made
    if mounted(made.path / "overlay"):
        subprocess.run(["umount", made.path / "overlay"], check=True)


def test_any_user_may_read_it_whatever_the_umask(shared: Shared) -> None:
    images = write_layout(shared.layout, tiny=b"one")
    old = os.umask(0o077)
    try:
        assert shared(images)["copied"] == [NAME]
    finally:
        os.umask(old)
    closed = []
    for folder, _below, files in os.walk(shared.path):
        paths = [Path(folder), *(Path(folder, name) for name in files)]
        bits = {path: 0o055 if path.is_dir() else 0o044 for path in paths if not path.is_symlink()}
        closed += [path for path, bit in bits.items() if path.stat().st_mode & bit != bit]
    assert closed == []


def test_every_file_says_whose_it_is_in_the_image(shared: Shared) -> None:
    shared(write_layout(shared.layout, tiny=b"one"))
    diff = shared.diff(NAME)
    of = {path: os.getxattr(path, "user.containers.override_stat") for path in diff.rglob("*")}
    assert of[diff / "folder/file"].startswith(b"33:44:0640")
    assert of[diff / "folder"].startswith(b"0:0:0755")
    assert os.getxattr(diff, "user.containers.override_stat")
    assert (diff / "folder/file").stat().st_mode & 0o777 == 0o755


def test_what_a_crash_left_unreadable_is_mended(shared: Shared) -> None:
    images = write_layout(shared.layout, tiny=b"one")
    shared(images)
    lists = shared.path / "overlay-images/images.json"
    lists.chmod(0o600)
    (shared.path / "attributed.json").unlink()
    folder = shared.diff(NAME) / "folder"
    os.removexattr(folder, "user.containers.override_stat")
    assert shared(images, check=True)["changed"]
    assert shared(images)["changed"]
    assert lists.stat().st_mode & 0o777 == 0o644
    assert os.getxattr(folder, "user.containers.override_stat") == b"0:0:0755"
    assert not shared(images)["changed"]


def test_copied_once_with_its_digest(shared: Shared) -> None:
    images = write_layout(shared.layout, tiny=b"one", other=b"two")
    announced = shared(images, check=True)
    assert not shared.path.exists()
    assert not shared.record.exists()
    first, second = shared(images), shared(images)
    assert announced["copied"] == first["copied"] == [NAME, OTHER]
    assert announced["diff"] == first["diff"]
    assert [image["digest"] for image in shared.images()] == [
        image["digest"] for image in reversed(images)
    ]
    assert (first["changed"], second["changed"]) == (True, False)


def test_a_replaced_image_stays_for_a_rollback_until_the_next_change(shared: Shared) -> None:
    shared(write_layout(shared.layout, tiny=b"one"))
    newer = write_layout(shared.layout, tiny=b"two")
    assert shared(newer)["copied"] == [NAME]
    assert shared.names() == ["", NAME]
    assert not shared(newer)["changed"]
    newest = write_layout(shared.layout, tiny=b"three")
    answer = shared(newest)
    assert len(answer["removed"]) == 1
    assert answer["removed"][0].startswith("nameless ")
    assert shared.names() == ["", NAME]


def test_what_the_bundle_drops_goes(shared: Shared) -> None:
    images = write_layout(shared.layout, tiny=b"one", other=b"two")
    shared(images)
    announced, answer = shared(images[:1], check=True), shared(images[:1])
    assert announced["removed"] == answer["removed"] == [OTHER]
    assert answer["diff"] == {"before": f"{OTHER} {images[1]['digest']}\n", "after": ""}
    assert shared.names() == [NAME]
    assert not shared(images[:1])["changed"]


def test_an_image_on_which_something_is_built_goes_later(shared: Shared) -> None:
    images = write_layout(shared.layout, tiny=b"one", other=b"two")
    shared(images)
    shared.needed = {shared.diff(OTHER).parent.name}
    answer = shared(images[:1])
    assert (answer["changed"], answer["kept"]) == (False, [OTHER])
    assert OTHER in str(answer["warnings"])
    assert shared.names() == [OTHER, NAME]
    shared.needed = set()
    assert shared(images[:1])["removed"] == [OTHER]


def test_one_of_two_names_of_an_image_goes(shared: Shared) -> None:
    images = write_layout(shared.layout, tiny=b"one", other=b"one")
    shared(images)
    assert shared.names() == [f"{OTHER},{NAME}"]
    shared(images[:1])
    assert shared.names() == [NAME]
    assert shared.diff(NAME).is_dir()


def test_an_image_that_lost_a_layer_is_copied_again(shared: Shared) -> None:
    images = write_layout(shared.layout, tiny=b"one")
    shared(images)
    shutil.rmtree(shared.diff(NAME))
    assert shared(images)["copied"] == [NAME]
    assert (shared.diff(NAME) / "folder/file").read_bytes() == b"one"


def test_another_digest_than_promised_fails(shared: Shared) -> None:
    write_layout(shared.layout, tiny=b"one")
    answer = shared([{"name": NAME, "digest": "sha256:" + "0" * 64}])
    assert answer["failed"]
    assert "another digest" in answer["msg"]


def test_a_store_that_nobody_asks_for_goes_once_nothing_is_built_on_it(shared: Shared) -> None:
    shared(write_layout(shared.layout, tiny=b"one"))
    assert not shared.only(str(shared.path))["changed"]
    shared.needed = {shared.diff(NAME).parent.name}
    assert shared.only()["kept"] == [str(shared.path)]
    shared.needed = set()
    assert shared.only(check=True)["removed"] == [str(shared.path)]
    assert shared.path.exists()
    answer = shared.only()
    assert answer["removed"] == [str(shared.path)]
    assert answer["diff"] == {"before": f"{shared.path}\n", "after": ""}
    assert not shared.path.exists()
    assert json.loads(shared.record.read_text())["shared"] == []
    assert not shared.only()["changed"]


def test_what_somebody_has_put_beside_a_store_is_neither_opened_nor_removed(
    shared: Shared,
) -> None:
    images = write_layout(shared.layout, tiny=b"one")
    shared(images)
    (shared.path / "ledgers").mkdir(mode=0o700)
    ledger = shared.path / "ledgers/2026"
    ledger.touch(mode=0o600)
    assert not shared(images)["changed"]
    assert ledger.stat().st_mode & 0o777 == 0o600
    assert shared.only()["changed"]
    assert list(shared.path.iterdir()) == [ledger.parent]
    assert ledger.exists()


def test_a_directory_that_is_not_ours_is_never_removed(shared: Shared) -> None:
    shared.path.mkdir()
    assert not shared.only()["changed"]
    assert shared.path.exists()
