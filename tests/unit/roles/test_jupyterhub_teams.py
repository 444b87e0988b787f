"""Which teams a login is in, whatever authenticator the hub has."""

import asyncio
import grp
import logging
import os
import pwd
import runpy
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import ROLES

TEAMS = runpy.run_path(str(ROLES / "jupyterhub/files/landbridge_hub/teams.py"))
ME = pwd.getpwuid(os.getuid()).pw_name
MINE = grp.getgrgid(os.getgid()).gr_name
ACCOUNTS = {
    "team-a": {"name": "a", "group": MINE, "login_group": None},
    "team-b": {"name": "b", "group": "no-such-group", "login_group": None},
    "team-c": {"name": "c", "group": "no-such-group", "login_group": "risk"},
}


class Authenticator:
    """An authenticator that has its answers ready."""

    log = logging.getLogger("test")

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def check_blocked_users(self, username: str, _authentication: Any = None) -> bool:
        return username != "mallory"

    async def get_authenticated_user(self, _handler: Any, _data: Any) -> Any:
        return self.answer

    async def refresh_user(self, _user: Any, _handler: Any = None) -> Any:
        return self.answer


def logged_in(answer: Any) -> Any:
    made = TEAMS["with_teams"](Authenticator, ACCOUNTS)(answer)
    return asyncio.run(made.get_authenticated_user(None, {}))


def refreshed(answer: Any, *groups: str) -> Any:
    made = TEAMS["with_teams"](Authenticator, ACCOUNTS)(answer)
    user = SimpleNamespace(name=ME, groups=[SimpleNamespace(name=group) for group in groups])
    return asyncio.run(made.refresh_user(user))


def test_a_login_is_in_the_teams_of_its_groups() -> None:
    assert logged_in({"name": ME, "admin": None})["groups"] == ["team-a"]


def test_groups_of_the_authenticators_own_stay() -> None:
    assert logged_in({"name": ME, "groups": ["large"]})["groups"] == ["large", "team-a"]
    assert refreshed({"name": ME, "groups": ["large"]}, "small")["groups"] == ["large", "team-a"]
    assert refreshed(True, "small")["groups"] == ["small", "team-a"]


def test_who_has_left_a_team_loses_it_at_the_next_look() -> None:
    assert refreshed(True, "team-a", "team-b")["groups"] == ["team-a"]


def test_a_name_that_the_node_does_not_know_is_in_no_team() -> None:
    assert logged_in({"name": "no-such-user"})["groups"] == []


@pytest.mark.parametrize("refusal", [None, False])
def test_a_refusal_stays_one(refusal: Any) -> None:
    assert not refreshed(refusal)
    assert logged_in(None) is None


def test_a_group_of_the_login_makes_members() -> None:
    assert logged_in({"name": ME, "groups": ["risk"]})["groups"] == ["risk", "team-a", "team-c"]
    assert refreshed(True, "risk", "team-c")["groups"] == ["risk", "team-a", "team-c"]
    assert refreshed(True, "team-c")["groups"] == ["team-a"]


def test_a_group_of_the_login_is_no_team_by_its_name() -> None:
    assert logged_in({"name": ME, "groups": ["team-b", "team-c"]})["groups"] == ["team-a"]


def test_nobody_logs_in_as_a_teams_account() -> None:
    authenticator = TEAMS["with_teams"](Authenticator, ACCOUNTS)(None)
    names = [*ACCOUNTS, "alice", "mallory"]
    allowed = [name for name in names if authenticator.check_blocked_users(name)]
    assert allowed == ["alice"]


def test_a_role_opens_one_teams_server_and_nothing_else() -> None:
    role = TEAMS["members_role"]("team-a")
    assert role["groups"] == ["team-a"]
    assert {scope.partition("!")[2] for scope in role["scopes"]} == {"user=team-a"}
