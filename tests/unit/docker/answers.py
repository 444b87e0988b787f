"""A node's answer to the survey, small and complete."""

from __future__ import annotations

from typing import Any


def quadlet(name: str = "web", **container: Any) -> dict[str, Any]:
    """An entry of podman_quadlets."""
    section = {"ContainerName": name, "Image": "docker.io/library/nginx:1", **container}
    return {"name": name, "type": "container", "sections": {"Container": section}}


def container(name: str = "web", **changes: Any) -> dict[str, Any]:
    """A container of the answer."""
    return {
        "name": name,
        "id": "0" * 64,
        "image": "nginx:1",
        "state": "running",
        "loses": [],
        "needs": [],
        "quadlet": quadlet(name),
        **changes,
    }


def answer(**changes: Any) -> dict[str, Any]:
    """A whole answer, of a daemon that runs and has nothing unless it is given."""
    return {
        "packages": ["docker-ce-27.0.0-1.el9"],
        "daemon": "running",
        "version": "27.0.0",
        "data_root": "/var/lib/docker",
        "group": [],
        "rootless": [],
        "units": [],
        "settings": {
            "file": "/etc/docker/daemon.json",
            "translated": {},
            "untranslated": [],
            "harmless": [],
        },
        **{
            kind: []
            for kind in ("containers", "images", "volumes", "networks", "compose", "plugins")
        },
        "swarm": {},
        "unknown": {},
        **changes,
    }
