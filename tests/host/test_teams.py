"""Servers that teams share: who gets in, and what two clients write into one notebook."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landbridge.facts.node import Node

SETTINGS = "/etc/landbridge/jupyterhub/values.json"
SESSION = Path(__file__).parent / "on_node" / "team_session.py"

answers: dict[tuple[Node, str, str], dict[str, Any]] = {}


def group_of(team: dict[str, Any]) -> str:
    """The group whose members are the team."""
    return str(team.get("group", f"team-{team['name']}"))


def folder_of(node: Node, team: dict[str, Any]) -> str:
    """The folder that the team shares."""
    return f"{node.promised('jupyterhub_teams')['folders']}/{team['name']}"


def ask(node: Node, user: str, team: dict[str, Any], role: str) -> dict[str, Any]:
    """What hub and team's server answer to a user; asked once."""
    key = (node, team["name"], role)
    if key not in answers:
        settings = json.loads(node.output("cat", SETTINGS))
        groups = [settings["allowed_groups"][0], *([group_of(team)] if role == "member" else [])]
        # Whatever team an earlier check was about, the user is in this one or in none.
        node.output("usermod", "--groups", ",".join(groups), user)
        account = f"team-{team['name']}"
        arguments = [json.dumps(settings), user, account, folder_of(node, team), role]
        python = f"{settings['prefix']}/bin/python"
        answers[key] = node.script(SESSION, arguments, python=python)
    return answers[key]


@pytest.fixture
def refused(
    node: Node, closed_team: dict[str, Any], user_of: Callable[[Node], str]
) -> dict[str, Any]:
    """What a user of the hub is told who is not in the team."""
    return ask(node, user_of(node), closed_team, "outsider")


@pytest.fixture
def admitted(
    node: Node, local_team: dict[str, Any], user_of: Callable[[Node], str]
) -> dict[str, Any]:
    """What a member is told; of a directory's group the node cannot make anybody a member."""
    return ask(node, user_of(node), local_team, "member")


def test_outsider_is_refused_everywhere(refused: dict[str, Any]) -> None:
    assert refused["server"] in (403, 404)
    assert refused["start"] in (403, 404)
    assert refused["spawn"] in (403, 404)
    assert refused["listed"] in (403, 404)


def test_outsider_is_offered_no_link(refused: dict[str, Any]) -> None:
    assert refused["link"] is False


def test_member_finds_the_link_at_home(admitted: dict[str, Any]) -> None:
    assert admitted["link"] is True


def test_member_is_known_by_name(
    node: Node, admitted: dict[str, Any], user_of: Callable[[Node], str]
) -> None:
    assert admitted.get("identity") == user_of(node), admitted


def test_edits_of_two_clients_cross(admitted: dict[str, Any]) -> None:
    one, other = admitted["seen"]
    assert one == other
    assert all(edit in one for edit in admitted["edits"])


def test_edits_are_saved_for_the_team(admitted: dict[str, Any], local_team: dict[str, Any]) -> None:
    assert admitted["saved"] is True
    assert admitted["group"] == group_of(local_team)
    assert admitted["mode"] == "0o660"


def test_folder_is_the_teams(node: Node, team: dict[str, Any]) -> None:
    said = node.output("stat", "--format=%a %U %G", folder_of(node, team))
    assert said.split() == ["2770", f"team-{team['name']}", group_of(team)]


def test_folder_hands_its_rights_down(node: Node, team: dict[str, Any]) -> None:
    access = node.output("getfacl", "--omit-header", "--absolute-names", folder_of(node, team))
    assert {"default:user::rwx", "default:group::rwx", "default:other::---"} <= set(access.split())


def test_nobody_logs_in_as_the_team(node: Node, team: dict[str, Any]) -> None:
    account = node.output("getent", "passwd", f"team-{team['name']}").strip().split(":")
    shadow = node.output("getent", "shadow", account[0]).split(":")
    assert shadow[1].startswith(("!", "*"))
    assert account[-1].endswith("/nologin")
