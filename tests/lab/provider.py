"""A real OpenID provider in the nodes' network, under TLS: oidc-provider-mock, which lets anybody
be anybody but holds the hub to its secret and its address.

It runs in the network namespace of the lab's holder, where it is told of users by lines of JSON.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from landbridge.errors import NodeError
from tests.lab import holder, podman

HOST, PORT = podman.DNS, 9443


@dataclass(frozen=True)
class Provider:
    """A provider that runs, and what it has issued to the hub."""

    client: str
    secret: str
    lines: IO[str]

    def tell(self, user: str, claims: Mapping[str, Any]) -> None:
        """What is true of a user from the next login on."""
        self.lines.write(json.dumps({"user": user, "claims": claims}) + "\n")
        self.lines.flush()


@contextlib.contextmanager
def running(certificate: Path, callback: str, log: Path) -> Iterator[Provider]:
    """A provider for one hub, at `HOST` and `PORT`, while a node is up.

    Args:
        certificate: PEM file with its certificate and key.
        callback: where it sends browsers back to.
        log: file for what it says.

    Raises:
        NodeError: it did not start.
    """
    command = [*holder.enter("-n"), sys.executable, "-m", "tests.lab.provider"]
    with log.open("w") as said:
        process = subprocess.Popen(
            [*command, certificate, callback],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    assert process.stdin and process.stdout
    try:
        if not (line := process.stdout.readline()):
            raise NodeError(f"the provider does not start:\n{log.read_text()}")
        client = json.loads(line)
        yield Provider(client["client_id"], client["client_secret"], process.stdin)
    finally:
        process.terminate()
        process.wait()


def _serve(certificate: str, callback: str) -> None:
    from oidc_provider_mock import app as provider
    from werkzeug.serving import make_server

    app = provider(require_client_registration=True)
    inside = app.test_client()
    hub = {"redirect_uris": [callback], "token_endpoint_auth_method": "client_secret_post"}
    client = inside.post("/oauth2/clients", json=hub).get_json()
    server = make_server(HOST, PORT, app, threaded=True, ssl_context=(certificate, certificate))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(json.dumps(client) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        told = json.loads(line)
        inside.put(f"/users/{told['user']}", json=told["claims"])


if __name__ == "__main__":
    _serve(*sys.argv[1:])
