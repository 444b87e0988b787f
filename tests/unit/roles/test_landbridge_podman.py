"""What the modules of role podman share."""

import json
import os
import pwd
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.roles.modules import shared


@pytest.fixture
def podman() -> ModuleType:
    return shared("landbridge_podman")


def test_a_user_runs_with_their_own_session(podman: ModuleType) -> None:
    nobody = pwd.getpwnam("nobody")
    environment = podman.user_environment(nobody)
    assert environment["XDG_RUNTIME_DIR"] == f"/run/user/{nobody.pw_uid}"
    assert environment["USER"] == "nobody"


def test_a_user_without_an_entry_is_named(podman: ModuleType) -> None:
    with pytest.raises(podman.CommandError, match="user landbridge-nobody does not exist"):
        podman.account_of("landbridge-nobody")


def test_a_command_gets_its_input_variables_and_a_readable_umask(podman: ModuleType) -> None:
    me = pwd.getpwuid(os.geteuid())
    argv = ["sh", "-c", 'cat; echo "$GREETING $(umask)"']
    old = os.umask(0o077)
    try:
        said = podman.run(argv, me, stdin="in\n", variables={"GREETING": "hello"})
    finally:
        os.umask(old)
    assert said == "in\nhello 0022\n"


def test_a_failed_command_is_named_without_its_input(podman: ModuleType) -> None:
    me = pwd.getpwuid(os.geteuid())
    with pytest.raises(podman.CommandError) as caught:
        podman.run(["sh", "-c", "echo why >&2; exit 3"], me, stdin="secret")
    assert str(caught.value) == "sh -c echo why >&2; exit 3: why"


def test_a_record_is_replaced_whole(podman: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "record.json"
    assert podman.read_record(path) == {}
    podman.write_record(path, {"a": 1})
    with pytest.raises(TypeError):
        podman.write_record(path, {"b": object()})
    assert podman.read_record(path) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]


def test_what_runs_meanwhile_is_called(podman: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    me = pwd.getpwuid(os.geteuid())
    monkeypatch.setattr(podman, "INTERVAL", 0.01)
    calls: list[None] = []
    argv = ["sh", "-c", "read line; sleep 0.2; echo $line"]
    assert podman.run(argv, me, stdin="in\n", meanwhile=lambda: calls.append(None)) == "in\n"
    assert calls


def test_layers_of_other_stores_are_what_containers_and_images_are_built_on(
    podman: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = {
        "overlay-layers/layers.json": [{"id": "own", "parent": "shared-1"}, {"id": "single"}],
        "overlay-layers/volatile-layers.json": [{"id": "container", "parent": "own"}],
        "overlay-images/images.json": [
            {"id": "i", "layer": "own"},
            {"id": "j", "layer": "shared-2"},
        ],
    }
    for name, content in lists.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    monkeypatch.setattr(podman, "run", lambda *_args: f"{tmp_path}\n")
    assert podman.layers_needed(None) == {"shared-1", "shared-2"}
