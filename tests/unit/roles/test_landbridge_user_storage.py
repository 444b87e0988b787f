"""Module landbridge_user_storage, for the user who runs the tests."""

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load

ME = pwd.getpwuid(os.geteuid()).pw_name


class User:
    """A home and a shared store, and the module on them."""

    def __init__(self, run: Runner, folder: Path) -> None:
        self.run = run
        self.conf = folder / "home/.config/containers/storage.conf"
        self.shared = folder / "shared"
        (self.shared / "overlay-images").mkdir(parents=True)
        (self.shared / "overlay-layers").mkdir()
        self.list_layers("base")

    def __call__(self, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        usual = {"users": [ME], "shared": str(self.shared), "driver": "overlay"}
        return self.run(check=check, **(usual | arguments))

    def list_layers(self, *names: str) -> None:
        layers = [{"id": name} for name in names]
        (self.shared / "overlay-layers/layers.json").write_text(json.dumps(layers))


@pytest.fixture
def user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> User:
    module = load("podman", "landbridge_user_storage")
    monkeypatch.setattr(module, "FILE", str(tmp_path / "home/.config/containers/storage.conf"))
    monkeypatch.setattr(module, "can_ask", lambda _account: True)
    monkeypatch.setattr(module, "layers_needed", lambda _account: set())
    return User(Runner(module, capsys), tmp_path)


def test_written_once_and_taken_back(user: User) -> None:
    announced = user(check=True)
    assert not user.conf.exists()
    first, second = user(), user()
    assert announced["diff"] == first["diff"]
    assert (first["changed"], first["sharing"], second["changed"]) == (True, [ME], False)
    text = user.conf.read_text()
    assert f'additionalimagestores = ["{user.shared}"]' in text
    assert 'mount_program = "/usr/bin/fuse-overlayfs"' in text
    assert "graphroot" not in text
    gone = user(shared="")
    assert (gone["changed"], gone["sharing"], user.conf.exists()) == (True, [], False)
    assert not user(shared="")["changed"]


def test_a_store_elsewhere_and_those_of_others_are_named(user: User) -> None:
    user(storage="/data/containers", additional=["/mnt/images"])
    text = user.conf.read_text()
    assert f'graphroot = "/data/containers/{os.getuid()}/storage"' in text
    assert f'additionalimagestores = ["{user.shared}", "/mnt/images"]' in text


def test_without_the_shared_store_the_kernel_reads_the_others(user: User) -> None:
    answer = user(without=[ME], additional=["/mnt/images"])
    assert answer["sharing"] == []
    assert "mount_program" not in user.conf.read_text()


def test_a_file_of_the_users_own_stays(user: User) -> None:
    user.conf.parent.mkdir(parents=True)
    user.conf.write_text("[storage]\n")
    answer = user()
    assert (answer["changed"], answer["sharing"]) == (False, [])
    assert user.conf.read_text() == "[storage]\n"
    assert "is " + ME + "'s own" in str(answer["warnings"])


def test_a_store_that_was_never_filled_is_not_named(user: User) -> None:
    (user.shared / "overlay-images").rmdir()
    assert user()["sharing"] == []
    assert not user.conf.exists()


def test_a_store_stays_while_something_is_built_on_it(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    user()
    monkeypatch.setattr(user.run.module, "layers_needed", lambda _account: {"base"})
    for check in (True, False):
        answer = user(shared="", check=check)
        assert answer["msg"].startswith("podman_shared_image_store")
        assert ME in answer["msg"]
    assert user.conf.exists()
    assert "failed" not in user(additional=["/mnt/images"])
    user.list_layers("another")
    assert "failed" not in user(shared="")
