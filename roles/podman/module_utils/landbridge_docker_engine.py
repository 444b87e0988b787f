# SPDX-License-Identifier: Apache-2.0
"""Docker's API where more is asked of it than to tell: to hand over images and end containers."""

from __future__ import annotations

import http.client
import json
import shutil
import urllib.parse
from contextlib import contextmanager

from ansible.module_utils.landbridge_docker_api import ApiError, Connection, Docker


class Engine(Docker):
    """Docker's daemon behind its socket."""

    def save(self, image, path):
        """Write an image's archive to a file."""
        with self._asked("GET", "images", image, "get") as response, path.open("wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)

    def stop(self, container):
        """Stop a container of the list with its own signal and patience; a paused one goes on.

        One that ends by itself meanwhile, and is removed then, is no error.
        """
        for verb in ["unpause", "stop"] if container["State"] == "paused" else ["stop"]:
            with self._asked("POST", "containers", container["Id"], verb, fine=(204, 304, 404)):
                pass

    @contextmanager
    def _asked(self, method, *parts, fine=(200,)):
        """The answer to what may take hours."""
        path = "".join("/" + urllib.parse.quote(part, safe="") for part in parts)
        connection = Connection(self._path, None)
        try:
            connection.request(method, path, headers={"Host": "docker"})
            response = connection.getresponse()
            if response.status not in fine:
                raise ApiError(f"{method} {path}: {_reason(response)}")
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{method} {path}: {error}") from error
        finally:
            connection.close()


def _reason(response):
    """What an answer that is none says."""
    body = response.read()
    try:
        return f"{response.status} {json.loads(body)['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status} {response.reason}"
