# SPDX-License-Identifier: Apache-2.0
"""Docker's API on its socket, to read from."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse

# Counting what has changed in a large container's layer may take its time.
SECONDS = 120


class ApiError(Exception):
    """Docker does not answer, or not with what was asked for."""


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path, seconds):
        super().__init__("docker", timeout=seconds)
        self._path = path

    def connect(self):
        """Called by http.client, as the rest of its names."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Docker:
    """Reads; paths have no version, so the daemon answers with its own."""

    def __init__(self, path):
        self._path = path

    def get(self, *parts, **query):
        """The JSON at a path; the parts are quoted, and so is the query."""
        path = "".join("/" + urllib.parse.quote(part, safe="") for part in parts)
        if query:
            path += "?" + urllib.parse.urlencode(query)
        connection = Connection(self._path, SECONDS)
        try:
            connection.request("GET", path, headers={"Host": "docker"})
            response = connection.getresponse()
            body = response.read()
            answer = json.loads(body) if body else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(f"{self._path}: GET {path}: {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            words = answer.get("message") if isinstance(answer, dict) else response.reason
            raise ApiError(f"{self._path}: GET {path}: {response.status} {words}")
        return answer

    def each(self, kind, names):
        """Details of things by name; one that has gone meanwhile is left out."""
        found = []
        for name in names:
            try:
                found.append(
                    self.get(kind, name, "json") if kind != "networks" else self.get(kind, name)
                )
            except ApiError as error:
                if ": 404 " not in str(error):
                    raise
        return found

    def is_docker(self):
        """Whether Docker answers, and not Podman in its place."""
        components = self.get("version").get("Components") or []
        return not any("podman" in part.get("Name", "").lower() for part in components)
