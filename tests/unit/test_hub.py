"""A hub's answer: typed, and as people read it."""

from typing import Any

import pytest

from landbridge.errors import NodeError
from landbridge.hub import parse, report

SERVER: dict[str, Any] = {
    "name": "",
    "started": "2026-11-29T12:00:00.000000Z",
    "last_activity": None,
    "profile": "small",
    "unit": "jupyter-alice-singleuser.service",
    "memory_bytes": 512_300_000,
    "cpu_seconds": 62,
}


def answer(**changes: Any) -> dict[str, Any]:
    bare = SERVER | {"name": "two words", "profile": None, "memory_bytes": None}
    users = [
        {"name": "bob", "admin": True, "last_activity": None, "servers": []},
        {"name": "alice", "admin": False, "last_activity": None, "servers": [SERVER, bare]},
    ]
    return {"hub": {"closed": None, "users": users, "stopped": []} | changes}


def test_a_line_for_each_server_then_who_has_none() -> None:
    hub = parse("n1", answer())
    assert hub is not None
    assert hub.running == ["alice", "alice/two words"]
    lines = [" ".join(line.split()) for line in report("n1", hub).splitlines()]
    assert lines == [
        "n1: 2 users, 2 servers; open",
        "USER SERVER PROFILE STARTED (UTC) LAST USED (UTC) MB CPU S",
        "alice - small 2026-11-29 12:00 - 512 62",
        "alice two words - 2026-11-29 12:00 - - 62",
        "bob (admin) none -",
    ]


@pytest.mark.parametrize(
    ("closed", "words"), [("until noon", "closed: until noon"), ("", "closed: maintenance")]
)
def test_a_closed_hub_says_why(closed: str, words: str) -> None:
    hub = parse("n1", answer(closed=closed, users=[]))
    assert hub is not None
    assert report("n1", hub) == f"n1: 0 users, 0 servers; {words}"


def test_what_another_version_answers_is_an_error_that_names_the_node() -> None:
    assert parse("n1", {"hub": None}) is None
    with pytest.raises(NodeError, match="n1: not an answer of module landbridge_hub"):
        parse("n1", answer(users=[{"name": "alice"}]))
