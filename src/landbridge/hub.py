"""What a hub says of its users: the answer of module `landbridge_hub`, typed, and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from landbridge.errors import NodeError

MEGABYTE = 10**6
HEAD = ("USER", "SERVER", "PROFILE", "STARTED (UTC)", "LAST USED (UTC)", "MB", "CPU S")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Part):
    """A server that runs; its unit uses bytes of memory and seconds of a processor."""

    name: str
    started: datetime | None
    last_activity: datetime | None
    profile: str | None
    unit: str | None
    memory_bytes: int | None
    cpu_seconds: int | None


class User(_Part):
    """Somebody whom the hub knows."""

    name: str
    admin: bool
    last_activity: datetime | None
    servers: list[Server]


class Stopped(_Part):
    """A server that was stopped."""

    user: str
    server: str


class Hub(_Part):
    """A hub: what it tells users while it is closed, who they are, what was stopped."""

    closed: str | None
    users: list[User]
    stopped: list[Stopped]

    @property
    def running(self) -> list[str]:
        """The servers that run, as `user` or `user/server`."""
        return [called(user.name, one.name) for user in self.users for one in user.servers]


def called(user: str, server: str) -> str:
    """A server's name for people."""
    return f"{user}/{server}" if server else user


def parse(node: str, answer: Mapping[str, Any]) -> Hub | None:
    """A node's answer; None where it has no hub.

    Raises:
        NodeError: the answer is not one of this version's module.
    """
    if answer.get("hub") is None:
        return None
    try:
        return Hub.model_validate(answer["hub"])
    except ValidationError as error:
        raise NodeError(f"{node}: not an answer of module landbridge_hub: {error}") from error


def report(node: str, hub: Hub) -> str:
    """A hub for people: each server on a line, users without one after them."""
    state = "open" if hub.closed is None else f"closed: {hub.closed or 'maintenance'}"
    head = f"{node}: {len(hub.users)} users, {len(hub.running)} servers; {state}"
    if not hub.users:
        return head
    rows = [HEAD, *_rows(hub)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    # The last two are numbers.
    lines = [
        "  ".join(
            cell.rjust(width) if column >= len(HEAD) - 2 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([head, *(f"  {line}".rstrip() for line in lines)])


def _rows(hub: Hub) -> Iterator[tuple[str, ...]]:
    for user in sorted(hub.users, key=lambda user: (not user.servers, user.name)):
        name = f"{user.name} (admin)" if user.admin else user.name
        for server in user.servers:
            memory, seconds = server.memory_bytes, server.cpu_seconds
            yield (
                name,
                server.name or "-",
                server.profile or "-",
                _time(server.started),
                _time(server.last_activity),
                "-" if memory is None else str(round(memory / MEGABYTE)),
                "-" if seconds is None else str(seconds),
            )
        if not user.servers:
            yield (name, "none", "", "", _time(user.last_activity), "", "")


def _time(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
