"""Whose account a name is, what a provider says of groups, and how units are called."""

import runpy
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import ROLES

FOLDER = ROLES / "jupyterhub/files/landbridge_hub"
RULES = runpy.run_path(str(FOLDER / "account_rules.py"))
CLAIMS = runpy.run_path(str(FOLDER / "claims.py"))


def account(uid: int, comment: str = "") -> Any:
    return SimpleNamespace(pw_uid=uid, pw_gecos=comment)


@pytest.mark.parametrize("name", ["alice", "a", "_svc", "a.b-c_9", "x" * 32])
def test_names_of_accounts(name: str) -> None:
    assert RULES["NAME"].fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", "Alice", "1a", "-a", ".a", "a b", "a/b", "../a", "*", "a\n", "a@b", "ä", "x" * 33]
)
def test_other_names(name: str) -> None:
    assert not RULES["NAME"].fullmatch(name)


@pytest.mark.parametrize("uid", [0, 1, 201, 999, 61184, 65534, 65535])
@pytest.mark.parametrize("made", [True, False])
def test_accounts_of_the_system_are_nobodys(uid: int, made: bool) -> None:
    with pytest.raises(RULES["RefusedError"], match="the system's"):
        RULES["judge"](account(uid, RULES["COMMENT"]), made)


@pytest.mark.parametrize("uid", [1000, 60000, 65536, 1_234_500_500])
def test_users_accounts_are_those_of_their_names(uid: int) -> None:
    RULES["judge"](account(uid), False)
    RULES["judge"](account(uid, "Landbridge user,room 1,,"), True)


@pytest.mark.parametrize("comment", ["", "Olga", "A Landbridge user"])
def test_what_the_hub_has_not_made_is_somebody_elses(comment: str) -> None:
    with pytest.raises(RULES["RefusedError"], match="somebody's"):
        RULES["judge"](account(1000, comment), True)


@pytest.mark.parametrize("name", ["alice", "a.b-c_9", ".a", "corp\\alice", "a@b", "ä b"])
def test_units_are_called_as_systemd_escapes(name: str) -> None:
    done = subprocess.run(["systemd-escape", name], capture_output=True, text=True, check=True)
    assert RULES["instance"](name) == done.stdout.strip()


@pytest.mark.parametrize(
    ("claims", "name", "wanted"),
    [
        ({"groups": ["a", "b", "a"]}, "groups", {"a", "b"}),
        ({"groups": "admins"}, "groups", {"admins"}),
        ({"groups": ["a", 1, None, {"b": "c"}, ""]}, "groups", {"a"}),
        ({"groups": {"a": True}}, "groups", set()),
        ({"groups": None}, "groups", set()),
        ({}, "groups", set()),
        ({"realm": {"roles": ["a"]}}, "realm.roles", {"a"}),
        ({"realm": ["roles"]}, "realm.roles", set()),
        ({"https://example.org/groups": ["a"]}, "https://example.org/groups", {"a"}),
    ],
)
def test_groups_are_the_texts_of_a_claim(
    claims: dict[str, Any], name: str, wanted: set[str]
) -> None:
    assert CLAIMS["groups"](claims, name) == wanted
