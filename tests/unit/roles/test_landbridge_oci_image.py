"""Module landbridge_oci_image with the real skopeo and podman, on a storage of its own."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load, shared
from tests.unit.roles.oci_layout import write_layout

NAME = "localhost/tools/tiny:1"
OTHER = "localhost/tools/other:1"


class Store:
    """A storage of its own, and the module on it."""

    def __init__(self, run: Runner, folder: Path) -> None:
        self.run = run
        self.layout = folder / "images"
        self.record = folder / "state" / "images.json"
        self.graph = folder / "graph"

    def __call__(
        self, images: list[dict[str, str]], *, check: bool = False, want: bool = True
    ) -> dict[str, Any]:
        users = {"users": ["root"], "without": [] if want else ["root"]}
        return self.run(layout=str(self.layout), images=images, check=check, **users)

    def podman(self, *argv: str) -> str:
        account = self.run.module.account_of("root")
        said: str = self.run.module.run(["podman", *argv], account)
        return said

    def names(self) -> list[str]:
        """Names of the images that are there; one without a name counts as such."""
        said = self.podman("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")
        return sorted(said.split())

    def ours(self) -> list[str]:
        """Names that the record has."""
        return sorted(json.loads(self.record.read_text())["users"]["root"])


@pytest.fixture
def store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Store:
    conf = tmp_path / "storage.conf"
    conf.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(conf))
    # Another graph's containers are none of ours.
    containers = tmp_path / "containers.conf"
    containers.write_text(f'[engine]\ntmp_dir = "{tmp_path}/tmp"\n')
    monkeypatch.setenv("CONTAINERS_CONF", str(containers))
    runner = Runner(load("podman", "landbridge_oci_image"), capsys)
    made = Store(runner, tmp_path)
    monkeypatch.setattr(runner.module, "IMAGES", made.record)
    return made


def test_copied_once_with_its_digest(store: Store) -> None:
    images = write_layout(store.layout, tiny=b"one", other=b"two")
    announced = store(images, check=True)
    assert not store.record.exists()
    first, second = store(images), store(images)
    assert announced["copied"] == first["copied"] == {"root": [NAME, OTHER]}
    assert announced["diff"] == first["diff"]
    assert first["diff"]["before"] == ""
    assert first["diff"]["after"] == "".join(
        f"root {image['name']} {image['digest']}\n" for image in reversed(images)
    )
    assert (first["changed"], second["changed"], second["copied"]) == (True, False, {})
    assert store.ours() == [OTHER, NAME]


def test_a_new_digest_takes_the_name_and_the_old_image_stays_without(store: Store) -> None:
    old = write_layout(store.layout, tiny=b"one")
    store(old)
    new = write_layout(store.layout, tiny=b"two")
    answer = store(new)
    assert answer["changed"]
    assert answer["diff"] == {
        "before": f"root {NAME} {old[0]['digest']}\n",
        "after": f"root {NAME} {new[0]['digest']}\n",
    }
    assert store.names() == ["<none>:<none>", NAME]


def test_an_image_that_was_there_packed_otherwise_gets_the_bundles_digest(
    store: Store, tmp_path: Path
) -> None:
    images = write_layout(store.layout, tiny=b"one")
    archive = tmp_path / "docker.tar"
    source, target = f"oci:{store.layout}:{NAME}", f"docker-archive:{archive}:{NAME}"
    subprocess.run(["skopeo", "copy", "--quiet", source, target], check=True)
    store.podman("image", "load", "--quiet", "--input", str(archive))
    assert store(images)["copied"] == {"root": [NAME]}
    assert not store(images)["changed"]


def test_what_the_bundle_drops_goes_and_nothing_else(store: Store) -> None:
    images = write_layout(store.layout, tiny=b"one", other=b"two")
    store(images)
    store.podman("image", "tag", OTHER, "localhost/mine:1")
    announced = store(images[:1], check=True)
    assert store.names() == ["localhost/mine:1", OTHER, NAME]
    answer = store(images[:1])
    assert announced["removed"] == answer["removed"] == {"root": [OTHER]}
    assert announced["diff"] == answer["diff"]
    assert (answer["diff"]["before"].split()[1], answer["diff"]["after"]) == (OTHER, "")
    assert store.names() == ["localhost/mine:1", NAME]
    assert store.ours() == [NAME]
    assert not store(images[:1])["changed"]


def test_an_image_that_was_there_before_is_not_ours(store: Store) -> None:
    images = write_layout(store.layout, tiny=b"one", other=b"two")
    store.run.module.Store(
        store.run.module.account_of("root"), {NAME: images[0]["digest"]}, {}
    ).copy(str(store.layout), NAME)
    store(images)
    store([])
    assert store.names() == [NAME]


def test_a_name_that_the_user_gave_to_another_image_stays(store: Store) -> None:
    images = write_layout(store.layout, tiny=b"one", other=b"two")
    store(images)
    store.podman("image", "tag", OTHER, NAME)
    answer = store(images[1:])
    assert not answer["changed"]
    assert NAME in store.names()
    assert store.ours() == [OTHER]


def test_an_image_that_a_container_uses_goes_later(store: Store) -> None:
    images = write_layout(store.layout, tiny=b"one")
    store(images)
    store.podman("container", "create", "--name", "user", "--network", "none", NAME, "sleep")
    for check in (True, False):
        answer = store([], check=check)
        assert (answer["changed"], answer["kept"]) == (False, {"root": [NAME]})
        assert NAME in str(answer["warnings"])
    assert store.ours() == [NAME]
    store.podman("container", "rm", "user")
    assert store([])["removed"] == {"root": [NAME]}
    assert store.names() == []


def test_a_container_that_comes_in_between_keeps_its_image(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_layout(store.layout, tiny=b"one")
    store(images)
    store.podman("container", "create", "--name", "user", "--network", "none", NAME, "sleep")
    monkeypatch.setattr(store.run.module.Store, "used", lambda _self: set())
    answer = store([])
    assert (answer["removed"], answer["kept"]) == ({}, {"root": [NAME]})
    assert store.ours() == [NAME]


def test_a_user_who_wants_none_any_more_has_none_of_ours(store: Store) -> None:
    images = write_layout(store.layout, tiny=b"one")
    store(images)
    assert store(images, want=False)["removed"] == {"root": [NAME]}


def test_an_image_that_lost_a_layer_is_copied_again(store: Store) -> None:
    images = write_layout(store.layout, tiny=b"one")
    store(images)
    (layer,) = (store.graph / "vfs" / "dir").iterdir()
    layer.rename(store.graph / "away")
    found = json.loads(store.podman("image", "inspect", NAME))
    found[0]["GraphDriver"]["Data"] = {"UpperDir": str(layer)}
    ask = store.run.module.ask

    def overlay(argv: list[str], account: Any) -> Any:
        return found if argv[1] == "inspect" else ask(argv, account)

    store.run.module.ask = overlay  # vfs names no layers
    assert store(images)["copied"] == {"root": [NAME]}
    assert (layer / "folder/file").read_bytes() == b"one"
    assert store(images)["copied"] == {}


def test_a_copy_that_was_interrupted_is_known_as_ours(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_layout(store.layout, tiny=b"one")
    copy = store.run.module.Store.copy

    def interrupted(self: Any, layout: str, name: str) -> None:
        copy(self, layout, name)
        raise OSError("power failure")

    monkeypatch.setattr(store.run.module.Store, "copy", interrupted)
    assert store(images)["failed"]
    assert store.names() == store.ours() == [NAME]


def test_another_digest_than_promised_fails(store: Store) -> None:
    write_layout(store.layout, tiny=b"one")
    answer = store([{"name": NAME, "digest": "sha256:" + "0" * 64}])
    assert answer["failed"]
    assert answer["msg"].startswith("images for root:")
    assert "another digest" in answer["msg"]


def test_an_image_that_the_layout_lacks_fails_with_its_name(store: Store) -> None:
    write_layout(store.layout, tiny=b"one")
    answer = store([{"name": OTHER, "digest": "sha256:" + "0" * 64}])
    assert answer["failed"]
    assert OTHER in answer["msg"]


def test_check_mode_before_podman_is_installed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    answer = store([{"name": NAME, "digest": "sha256:1"}], check=True)
    assert answer["changed"]
    assert answer["copied"] == {"root": [NAME]}


def test_a_user_who_does_not_exist_is_named(store: Store) -> None:
    answer = store.run(layout=str(store.layout), images=[], users=["landbridge-nobody"])
    assert "user landbridge-nobody does not exist" in answer["msg"]


def test_records_of_others_stay(store: Store) -> None:
    store.record.parent.mkdir()
    store.record.write_text(json.dumps({"users": {"alice": {NAME: "sha256:1"}}, "shared": {}}))
    store(write_layout(store.layout, other=b"two"))
    record = shared("landbridge_podman").read_record(store.record)
    assert record["users"]["alice"] == {NAME: "sha256:1"}
    assert record["shared"] == {}
