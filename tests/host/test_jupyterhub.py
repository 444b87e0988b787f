"""JupyterHub as a user meets it: one session per node, from the login form to cells' output."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landbridge.facts.node import Node

SETTINGS = "/etc/landbridge/jupyterhub/values.json"
SESSION = Path(__file__).parent / "on_node" / "hub_session.py"
UNITS = ("landbridge-hub.service", "landbridge-proxy.service")

on_hubs = pytest.mark.usefixtures("hub")
sessions: dict[Node, dict[str, Any]] = {}


def kernel_name(node: Node, kernel: str) -> str:
    """The kernelspec of a display name."""
    for name, spec in node.facts.kernelspecs.items():
        if kernel == spec["display_name"]:
            return name
    return f"none for {kernel}"


@pytest.fixture
def session(node: Node, user_of: Callable[[Node], str]) -> dict[str, Any]:
    """What the hub answered to the node's temporary user."""
    if node not in sessions:
        settings = json.loads(node.output("cat", SETTINGS))
        user = user_of(node)
        node.output("usermod", "--append", "--groups", settings["allowed_groups"][0], user)
        arguments = [settings["bind_url"], user, *node.facts.kernelspecs]
        python = f"{settings['prefix']}/bin/python"
        sessions[node] = node.script(SESSION, arguments, python=python)
    return sessions[node]


@on_hubs
@pytest.mark.parametrize("unit", UNITS)
def test_unit_is_active(node: Node, unit: str) -> None:
    assert node.unit(unit) == "active"


@on_hubs
def test_api_refuses_strangers(session: dict[str, Any]) -> None:
    assert session["anonymous"] == 403


@on_hubs
def test_wrong_password_is_refused(session: dict[str, Any]) -> None:
    assert session["refused"]["status"] == 403


@on_hubs
def test_pam_password_logs_in(session: dict[str, Any]) -> None:
    assert session["login"] == {"status": 200, "path": "/hub/home"}


@on_hubs
def test_server_starts(session: dict[str, Any]) -> None:
    assert session["server"]["error"] is None


def test_notebook_runs(node: Node, kernel: str, session: dict[str, Any]) -> None:
    answer = session["kernels"][kernel_name(node, kernel)]
    assert answer.get("text", "").strip() == "42042", answer
    assert answer["status"] == "ok"
