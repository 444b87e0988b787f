"""What the modules of role podman share."""

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
