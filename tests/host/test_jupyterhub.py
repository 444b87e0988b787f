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
        arguments = [json.dumps(settings), user, *node.facts.kernelspecs]
        python = f"{settings['prefix']}/bin/python"
        told = node.script(SESSION, arguments, python=python)
        sessions[node] = {**told, "settings": settings}
    return sessions[node]


@on_hubs
@pytest.mark.parametrize("unit", UNITS)
def test_unit_is_active(node: Node, unit: str) -> None:
    assert node.unit(unit) == "active"


@on_hubs
def test_api_refuses_strangers(session: dict[str, Any]) -> None:
    assert session["anonymous"] == 403


@on_hubs
def test_answers_are_for_no_frame_and_no_guess(session: dict[str, Any]) -> None:
    for path, headers in session["headers"].items():
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "same-origin", path
    policy = session["headers"]["/hub/login"]["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'self'" in policy


@on_hubs
def test_answers_hide_versions(session: dict[str, Any]) -> None:
    for path, headers in session["headers"].items():
        assert not {"server", "x-powered-by", "x-jupyterhub-version"} & set(headers), path


@on_hubs
def test_browsers_stay_with_tls(session: dict[str, Any]) -> None:
    tls, seconds = session["settings"]["tls"], session["settings"]["hsts_seconds"]
    wanted = f"max-age={seconds}" if tls and seconds else None
    for path, headers in session["headers"].items():
        assert headers.get("strict-transport-security") == wanted, path


@on_hubs
def test_cookies_are_kept_to_the_hub(session: dict[str, Any]) -> None:
    cookies = session["cookies"]
    assert "jupyterhub-hub-login" in cookies
    for name, flags in cookies.items():
        assert flags["samesite"] == "Lax", name
        assert flags["secure"] == session["settings"]["tls"], name
        # Scripts of the hub's pages send this one back.
        assert flags["httponly"] or name == "_xsrf", name


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
