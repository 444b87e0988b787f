"""Users of a hub as their browsers speak to it: login form, start of a server, its pages."""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from landbridge.errors import NodeError

# A browser waits; the hub says itself when it has given up.
_PATIENCE = 900


@dataclass
class HubUser:
    """One user with cookies of their own."""

    url: str
    name: str
    password: str
    client: httpx.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.AsyncClient(
            base_url=self.url, timeout=_PATIENCE, follow_redirects=True, trust_env=False
        )

    async def log_in(self) -> None:
        """Fill in the form.

        Raises:
            NodeError: it did not lead to the hub's home.
        """
        page = await self.client.get("/hub/login")
        found = re.search(r'name="_xsrf"\s+value="([^"]+)"', page.text)
        form = {
            "username": self.name,
            "password": self.password,
            "_xsrf": found[1] if found else "",
        }
        answer = await self.client.post("/hub/login?next=%2Fhub%2Fhome", data=form)
        if answer.status_code != 200 or answer.url.path != "/hub/home":
            raise NodeError(f"{self.name} is not logged in: {answer.status_code} {answer.url}")

    async def start(self) -> float:
        """Start the server and wait until it is ready; the seconds that this took.

        Raises:
            NodeError: it did not start; what the hub said is in the message.
        """
        began = time.monotonic()
        answer = await self._api("POST", f"/users/{self.name}/server")
        if answer.status_code not in (201, 202):
            raise NodeError(f"{self.name}'s server: {answer.status_code} {answer.text}")
        progress = f"/hub/api/users/{self.name}/server/progress"
        async with self.client.stream("GET", progress, headers=self._headers()) as events:
            async for line in events.aiter_lines():
                event = json.loads(line[5:]) if line.startswith("data:") else {}
                if event.get("failed"):
                    raise NodeError(f"{self.name}'s server: {event['message']}")
                if event.get("ready"):
                    return time.monotonic() - began
        raise NodeError(f"{self.name}'s server: the hub went silent")

    async def opens(self, owner: str) -> bool:
        """Whether the page of somebody's server is shown."""
        page = await self.client.get(f"/user/{owner}/lab")
        return page.status_code == 200 and urlsplit(str(page.url)).path == f"/user/{owner}/lab"

    async def _api(self, method: str, path: str) -> httpx.Response:
        return await self.client.request(method, f"/hub/api{path}", headers=self._headers())

    def _headers(self) -> dict[str, str]:
        cookies = self.client.cookies.jar
        token = next(c.value for c in cookies if (c.name, c.path) == ("_xsrf", "/hub/"))
        return {"X-XSRFToken": str(token), "Referer": f"{self.url}/hub/home"}


async def all_start(users: list[HubUser]) -> list[float]:
    """Everybody logs in and starts a server at once; the seconds from login to each server."""

    async def come(user: HubUser) -> float:
        began = time.monotonic()
        await user.log_in()
        await user.start()
        return time.monotonic() - began

    return list(await asyncio.gather(*map(come, users)))
