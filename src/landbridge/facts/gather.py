"""Taking the snapshot of a node: the call, and its answer as a typed value."""

from __future__ import annotations

import base64
import shlex
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from landbridge.errors import NodeError

SCRIPT = Path(__file__).with_name("snapshot.py")
PLATFORM_PYTHON = "/usr/bin/python3"
# Where bootstrap.sh links the bundle that a node was set up from.
DEPOT = "/var/lib/landbridge/depot/current"


class Unit(BaseModel):
    """A systemd unit's three states."""

    load: str
    active: str
    sub: str


class Systemd(BaseModel):
    """The system's state and its loaded units."""

    state: str
    units: dict[str, Unit]


class Toolkit(BaseModel):
    """Where the toolkit's two links lead; empty for a link that is not there."""

    installed: str
    command: str


class Environment(BaseModel):
    """A conda environment: its prefix, and its packages' sha256 by file name."""

    current: str
    packages: dict[str, str]


class Image(BaseModel):
    """A container image of root's."""

    names: list[str]
    id: str
    digest: str
    digests: list[str]


class Depot(BaseModel):
    """What the node's depot promises; locks are environment, subdir, file name, sha256."""

    path: str
    content: dict[str, Any]
    stack: str
    locks: dict[str, dict[str, dict[str, str]]]
    pure_wheels: list[str]


class Snapshot(BaseModel):
    """What `snapshot.py` prints; `r_libraries` is R's x.y, package, version."""

    depot: Depot
    os_release: dict[str, str]
    toolkit: Toolkit
    rpms: dict[str, list[str]]
    systemd: Systemd
    repositories: dict[str, dict[str, dict[str, str]]]
    environments: dict[str, Environment]
    r_libraries: dict[str, dict[str, str]]
    kernelspecs: dict[str, dict[str, Any]]
    images: list[Image]
    promises: dict[str, dict[str, Any]]
    egress_packets: int | None


class Answer(Protocol):
    """What a command left: testinfra's `CommandResult` is one."""

    rc: int
    stdout: str
    stderr: str


def script_command(
    script: Path, arguments: Sequence[str], python: str = PLATFORM_PYTHON
) -> list[str]:
    """A command that carries a Python script to a node and runs it there.

    Args:
        script: the script's file on this machine.
        arguments: its arguments.
        python: the interpreter on the node.
    """
    text = base64.b64encode(zlib.compress(script.read_bytes(), 9)).decode()
    unpack = (
        "import base64,sys,zlib;"
        f"source=zlib.decompress(base64.b64decode('{text}'));"
        f"exec(compile(source,{script.name!r},'exec'))"
    )
    return [python, "-c", unpack, *arguments]


def take_snapshot(run: Callable[[str], Answer], depot: str) -> Snapshot:
    """Take the snapshot of a node.

    Args:
        run: runs a shell command on the node as root.
        depot: the depot's path on the node.

    Raises:
        NodeError: the node is out of reach, or the script failed there.
    """
    try:
        answer = run(shlex.join(script_command(SCRIPT, [depot])))
    except (OSError, RuntimeError) as error:
        raise NodeError(f"cannot be reached: {error}") from error
    if answer.rc != 0:
        words = answer.stderr.strip().splitlines() or [f"exit code {answer.rc}"]
        raise NodeError(f"no snapshot: {words[-1].removeprefix('snapshot: ')}")
    try:
        return Snapshot.model_validate_json(answer.stdout)
    except ValidationError as error:
        raise NodeError(f"an unreadable snapshot: {error}") from error
