"""What Docker holds on a node: the answer of module `landbridge_docker_survey`, typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from landbridge.errors import NodeError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Thing(_Part):
    """Something that may need something."""

    needs: list[str]


class Rootless(_Thing):
    """A user's own Docker."""

    user: str
    running: bool
    images: int | None = None
    containers: int = 0
    volumes: int = 0


class Unit(_Thing):
    """A unit of the administrator's that needs Docker."""

    path: str


class Setting(_Thing):
    """A key of daemon.json, or of dockerd's command line, that is not taken over."""

    key: str
    value: Any
    origin: str = Field(alias="from")


class Settings(_Part):
    """How the daemon is set up."""

    file: str
    translated: dict[str, Any]
    untranslated: list[Setting]
    harmless: list[str]


class Container(_Thing):
    """A container and the quadlet that runs it."""

    name: str
    id: str
    image: str
    state: str
    loses: list[str]
    quadlet: dict[str, Any]


class Image(_Thing):
    """An image."""

    names: list[str]
    id: str
    size: int
    used_by: list[str]


class Volume(_Thing):
    """A volume."""

    name: str
    driver: str
    path: str
    options: dict[str, str]
    labels: dict[str, str]
    anonymous: bool
    used_by: list[str]


class Network(_Thing):
    """A network that somebody has made."""

    name: str
    driver: str
    subnets: list[str]
    gateways: list[str]
    ip_ranges: list[str]
    internal: bool
    ipv6: bool
    options: dict[str, str]
    labels: dict[str, str]


class Project(_Thing):
    """A project of compose."""

    project: str
    files: list[str]
    folder: str
    environment_files: list[str]
    services: list[str]


class Plugin(_Thing):
    """A managed plugin."""

    name: str
    enabled: bool


class Swarm(_Thing):
    """The swarm that the node is in."""

    state: str = "inactive"
    manager: bool = False
    services: list[str] = []
    secrets: list[str] = []
    configs: list[str] = []
    needs: list[str] = []


class Unknown(_Thing):
    """What lies in the data directory of a daemon that does not tell."""

    path: str = ""
    images: int | None = None
    containers: int = 0
    volumes: int = 0
    needs: list[str] = []


class Survey(_Part):
    """The answer for one node; docs/architecture.md describes it."""

    packages: list[str]
    daemon: Literal["absent", "stopped", "running"]
    version: str | None
    data_root: str
    group: list[str]
    rootless: list[Rootless]
    units: list[Unit]
    settings: Settings
    containers: list[Container]
    images: list[Image]
    volumes: list[Volume]
    networks: list[Network]
    compose: list[Project]
    plugins: list[Plugin]
    swarm: Swarm
    unknown: Unknown


def parse(node: str, answer: Mapping[str, Any]) -> Survey:
    """The answer of a node.

    Raises:
        NodeError: it is not what this version of Landbridge asks for.
    """
    try:
        return Survey.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise NodeError(
            f"{node}: unexpected answer of the survey: {where}: {first['msg']}"
        ) from None
