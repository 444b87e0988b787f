"""JupyterHub as a user meets it: one session per node, from the login form to cells' output."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from landbridge.facts.node import Node

HUB = "http://127.0.0.1:8000"
PYTHON = "/opt/landbridge/envs/jupyterhub/current/bin/python"
SESSION = Path(__file__).parent / "on_node" / "hub_session.py"
UNITS = ("jupyterhub.service", "jupyterhub-proxy.service")

sessions: dict[Node, dict[str, Any]] = {}


def kernel_name(node: Node, kernel: str) -> str:
    """The kernelspec of an environment's display name, or of the language R."""
    for name, spec in node.facts.kernelspecs.items():
        if kernel in (spec["display_name"], spec["language"]):
            return name
    return f"none for {kernel}"


@pytest.fixture
def session(node: Node, user_of: Callable[[Node], str]) -> dict[str, Any]:
    """What the hub answered to the node's temporary user."""
    if node not in sessions:
        arguments = [HUB, user_of(node), *node.facts.kernelspecs]
        sessions[node] = node.script(SESSION, arguments, python=PYTHON)
    return sessions[node]


@pytest.mark.parametrize("unit", UNITS)
def test_unit_is_active(node: Node, unit: str) -> None:
    assert node.facts.systemd.units[unit].active == "active"


def test_api_refuses_strangers(session: dict[str, Any]) -> None:
    assert session["anonymous"] == 403


def test_wrong_password_is_refused(session: dict[str, Any]) -> None:
    assert session["refused"]["status"] == 403


def test_pam_password_logs_in(session: dict[str, Any]) -> None:
    assert session["login"] == {"status": 200, "path": "/hub/home"}


def test_server_starts(session: dict[str, Any]) -> None:
    assert session["server"]["error"] is None


def test_notebook_runs(node: Node, kernel: str, session: dict[str, Any]) -> None:
    answer = session["kernels"][kernel_name(node, kernel)]
    assert answer.get("text", "").strip() == "42042", answer
    assert answer["status"] == "ok"
