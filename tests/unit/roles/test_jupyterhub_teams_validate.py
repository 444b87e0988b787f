"""Role jupyterhub refuses bad teams, by the variable's name and with the mend."""

from typing import Any

import pytest

from tests.unit.roles.validation import Validation

HUB = Validation("jupyterhub", {"cacheable": True}, "teams_validate.yml")

# Known to every machine that runs these tests.
GROUP, USER = "daemon", "root"
TEAM = {"name": "fraud", "group": GROUP}
TEAMS, FOLDERS = "jupyterhub_teams", "jupyterhub_team_folders"
BAD: list[tuple[str, Any, str]] = [
    (TEAMS, [TEAM | {"name": "Fraud"}], "small letters"),
    (TEAMS, [TEAM | {"name": "../fraud"}], "small letters"),
    (TEAMS, [TEAM | {"name": "f" * 27}], "at most 26"),
    (TEAMS, [TEAM, TEAM], "each name once"),
    (TEAMS, [{"name": "fraud"}], "write either group"),
    (TEAMS, [TEAM | {"members": [USER]}], "write either group"),
    (TEAMS, [TEAM | {"login_group": "risk"}], "write either group"),
    (TEAMS, [{"name": "risk", "login_group": "risk"}], "whose logins tell of none"),
    (TEAMS, [{"name": "fraud", "members": []}], "write either group"),
    (TEAMS, [{"name": "fraud", "group": "no-such-group"}], "no-such-group, which this node"),
    (TEAMS, [{"name": "fraud", "members": [USER, "no-such-user"]}], "no-such-user, which this"),
    (FOLDERS, "srv/teams", "absolute path"),
    (FOLDERS, "/srv/our teams", "absolute path"),
]
GOOD: dict[str, Any] = {
    TEAMS: [TEAM, {"name": "pricing-2", "members": [USER]}],
    FOLDERS: "/data/teams",
}

# Where logins tell of groups.
LDAP: dict[str, Any] = {
    "jupyterhub_authenticator": "ldap",
    TEAMS: [{"name": "risk", "login_group": "risk"}],
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of the defaults, of GOOD and LDAP, and of each row of BAD."""
    bad = [(variable, {variable: value}) for variable, value, _words in BAD]
    return HUB.judge([{}, GOOD, LDAP], bad, tmp_path_factory.mktemp("validate"))


def test_defaults_and_good_teams_pass(said: list[str]) -> None:
    assert said[:3] == ["", "", ""]


@pytest.mark.parametrize("row", range(len(BAD)), ids=[f"{v}-{i}" for i, (v, *_) in enumerate(BAD)])
def test_bad_team_is_refused_by_name_and_with_the_mend(said: list[str], row: int) -> None:
    variable, _value, words = BAD[row]
    assert variable in said[3 + row]
    assert words in said[3 + row]
