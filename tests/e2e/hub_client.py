"""A browser as far as stories about logins and the hub's API need one."""

import re
import ssl
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.e2e.conftest import PATIENCE_SECONDS, until


@dataclass
class Client:
    """A browser with cookies of its own."""

    url: str
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        # The node's certificate is its own and for its names; the way there is a tunnel.
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        self.http = httpx.Client(
            base_url=self.url, verify=trust, follow_redirects=True, timeout=PATIENCE_SECONDS
        )

    def log_in(self, name: str, password: str | None = None) -> int:
        """Fill in the form; the status of the answer."""
        page = self.http.get("/hub/login?next=%2Fhub%2Fhome").text
        token = re.search(r'name="_xsrf"\s+value="([^"]+)"', page)
        assert token, page
        form = {"username": name, "password": password or f"{name}'s own", "_xsrf": token[1]}
        return self.http.post("/hub/login?next=%2Fhub%2Fhome", data=form).status_code

    def api(self, method: str, path: str, **body: Any) -> httpx.Response:
        """A call to the hub's API with the login's cookies."""
        headers = {"Referer": f"{self.url}/hub/home"}
        headers["X-XSRFToken"] = self.http.cookies.get("_xsrf", path="/hub/") or ""
        return self.http.request(method, f"/hub/api{path}", headers=headers, json=body or None)

    def user(self) -> dict[str, Any]:
        """What the hub knows of who is logged in."""
        answer: dict[str, Any] = self.api("GET", "/user").json()
        return answer

    def start(self, name: str, **options: Any) -> None:
        """Start one's own server and wait until it is ready."""
        answer = self.api("POST", f"/users/{name}/server", **options)
        assert answer.is_success, answer.text
        until(lambda: self.user()["servers"].get("", {}).get("ready"), f"{name}'s server")
