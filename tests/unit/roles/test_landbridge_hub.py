"""Module landbridge_hub on a small hub that speaks JupyterHub's API."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from tests.unit.fault_server import served
from tests.unit.roles.modules import Runner, load

TOKEN = "a token"
PAGE = 2


def ago(seconds: int) -> str:
    """A time as the hub writes it."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


class SmallHub(ThreadingHTTPServer):
    """Users by name, each with servers by name, each last used so many seconds ago."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.users: dict[str, dict[str, int]] = {}
        self.stuck: set[str] = set()

    def models(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "admin": name == "root-of-hub",
                "last_activity": None,
                "servers": {
                    server: {
                        "started": ago(9999),
                        "last_activity": ago(used),
                        "user_options": {"profile": "small"},
                        "state": {"unit_name": f"jupyter-{name}-singleuser"},
                    }
                    for server, used in servers.items()
                },
            }
            for name, servers in self.users.items()
        ]


class Api(BaseHTTPRequestHandler):
    """The part of the API that operations use."""

    server: SmallHub

    def answer(self, status: int, body: Any = None) -> None:
        self.send_response(status)
        self.end_headers()
        if body is not None:
            self.wfile.write(json.dumps(body).encode())

    def allowed(self) -> bool:
        if self.headers["Authorization"] == f"token {TOKEN}":
            return True
        self.answer(403)
        return False

    def do_GET(self) -> None:
        if not self.allowed():
            return
        offset = int(parse_qs(urlsplit(self.path).query)["offset"][0])
        models = self.server.models()
        left = len(models) > offset + PAGE
        following = {"offset": offset + PAGE, "limit": PAGE} if left else None
        items = models[offset : offset + PAGE]
        self.answer(200, {"items": items, "_pagination": {"next": following}})

    def do_DELETE(self) -> None:
        _hub, _api, _users, user, kind, *server = self.path.strip("/").split("/")
        assert kind == ("servers" if server else "server")
        if self.allowed() and unquote(user) not in self.server.stuck:
            del self.server.users[unquote(user)][unquote(server[0]) if server else ""]
            self.answer(204)
        else:
            self.answer(500)

    def log_message(self, *_: Any) -> None:
        """The test's output is its own."""


class Place:
    """The module, the hub that it asks, and the node's files."""

    def __init__(self, run: Runner, hub: SmallHub, folder: Path) -> None:
        self.run, self.hub, self.drained = run, hub, folder / "drained"

    def __call__(self, **arguments: Any) -> dict[str, Any]:
        return self.run(**arguments)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    found = load("jupyterhub", "landbridge_hub")
    monkeypatch.setattr(found, "SETTINGS", tmp_path / "values.json")
    monkeypatch.setattr(found, "PAGE", PAGE)
    monkeypatch.setattr(found, "STOP_SECONDS", 0)
    monkeypatch.setattr(found, "POLL_SECONDS", 0)
    # A systemctl that knows one unit; the other one has no accounting.
    told = "Id=jupyter-alice-singleuser.service\nMemoryCurrent=5000000\nCPUUsageNSec=7900000000\n\n"
    told += "Id=jupyter-bob-singleuser.service\nMemoryCurrent=[not set]\nCPUUsageNSec=[not set]"
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "systemctl").write_text(f"#!/bin/sh\ncat <<'EOT'\n{told}\nEOT\n")
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    return found


@pytest.fixture
def place(
    module: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    with served(SmallHub()) as hub:
        port = hub.server_address[1]
        values = {"hub_port": port, "secrets": str(tmp_path), "state": str(tmp_path)}
        module.SETTINGS.write_text(json.dumps(values))
        (tmp_path / "operations_token").write_text(f"{TOKEN}\n")
        yield Place(Runner(module, capsys), hub, tmp_path)


def test_a_node_without_a_hub_says_so(
    module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = Runner(module, capsys)()
    assert answer["hub"] is None
    assert not answer["changed"]


def test_users_of_all_pages_with_what_their_servers_use(place: Place) -> None:
    place.hub.users = {"alice": {"": 5}, "bob": {"two words": 5}, "root-of-hub": {}}
    answer = place()
    assert not answer["changed"]
    users = {user["name"]: user for user in answer["hub"]["users"]}
    assert [user["admin"] for user in users.values()] == [False, False, True]
    (server,) = users["alice"]["servers"]
    assert (server["memory_bytes"], server["cpu_seconds"]) == (5000000, 7)
    assert server["profile"] == "small"
    (server,) = users["bob"]["servers"]
    assert (server["name"], server["memory_bytes"], server["cpu_seconds"]) == (
        "two words",
        None,
        None,
    )


def test_drained_stops_the_idle_and_leaves_the_busy(place: Place) -> None:
    place.hub.users = {"alice": {"": 5}, "b/b": {"": 5000, "two words": 5000}}
    announced = place(state="drained", message="until noon", check=True)
    assert not place.drained.exists()
    answer = place(state="drained", message="until noon")
    stopped = [{"user": "b/b", "server": ""}, {"user": "b/b", "server": "two words"}]
    assert announced["hub"]["stopped"] == answer["hub"]["stopped"] == stopped
    assert (
        announced["diff"] == answer["diff"] == {"before": "open\n", "after": "closed: until noon\n"}
    )
    assert place.hub.users == {"alice": {"": 5}, "b/b": {}}
    assert place.drained.read_text() == "until noon\n"
    assert not place(state="drained", message="until noon")["changed"]
    assert place()["hub"]["closed"] == "until noon"


def test_all_are_stopped_when_told_to(place: Place) -> None:
    place.hub.users = {"alice": {"": 5}}
    assert place(state="drained", stop="all")["changed"]
    assert place.hub.users == {"alice": {}}


def test_it_waits_until_the_busy_ones_are_idle(place: Place, module: ModuleType) -> None:
    place.hub.users = {"alice": {"": 5}}
    module.time = Clock(place.hub)  # type: ignore[attr-defined]
    answer = place(state="drained", wait=60)
    assert answer["hub"]["stopped"] == [{"user": "alice", "server": ""}]


class Clock:
    """Time that passes where somebody sleeps, and a user who then stops working."""

    def __init__(self, hub: SmallHub) -> None:
        self.hub, self.now = hub, 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return datetime.now(UTC).timestamp()

    def sleep(self, _seconds: float) -> None:
        self.now += 10
        self.hub.users["alice"][""] = 5000


def test_opened_again_once(place: Place) -> None:
    place.drained.write_text("\n")
    assert place(state="open", check=True)["changed"]
    assert place.drained.exists()
    assert place(state="open")["changed"]
    assert not place.drained.exists()
    assert not place(state="open")["changed"]


def test_a_server_that_does_not_stop_keeps_no_other_running(place: Place) -> None:
    place.hub.users = {"alice": {"": 5000}, "bob": {"": 5000}}
    place.hub.stuck = {"alice"}
    answer = place(state="drained")
    assert answer["failed"]
    assert "after they were told to stop: alice" in answer["msg"]
    assert "/users/alice/server: the hub answers 500" in answer["msg"]
    assert place.hub.users["bob"] == {}
    assert place.drained.exists()


def test_a_hub_of_an_older_release_is_to_be_converged(place: Place, tmp_path: Path) -> None:
    (tmp_path / "operations_token").unlink()
    assert "landbridge apply --tags preflight,jupyterhub" in place()["msg"]
    (tmp_path / "values.json").write_text(json.dumps({"hub_port": 1, "state": "/"}))
    assert "landbridge apply --tags preflight,jupyterhub" in place()["msg"]


def test_a_token_that_is_wrong_is_an_error_without_the_token(place: Place, tmp_path: Path) -> None:
    (tmp_path / "operations_token").write_text("wrong\n")
    answer = place()
    assert answer["failed"]
    assert "the hub answers 403" in answer["msg"]
    assert "wrong" not in json.dumps(answer)
