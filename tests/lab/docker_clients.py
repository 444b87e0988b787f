"""Docker's own clients, to be put on a node: the CLI, Compose, the SDK for Python; podman-compose.

Nothing of it is installed on the machine, where Debian's packages would start a daemon.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from landbridge.errors import NodeError
from tests.lab import debian, debs, paths, podman
from tests.lab.platforms import Platform

# Where they are on a node.
FOLDER = "/opt/docker-clients"
# Of Debian 13, for both platforms: they need glibc 2.34 and nothing else. tcsh is one of the
# shells in which a user may look for DOCKER_HOST.
_SUITE = "trixie"
_DEBS = ["docker-cli", "docker-compose"]
_SHELL_SUITE = "bookworm"
_SHELL_DEBS = ["tcsh"]
_WHEELS = ["docker", "podman-compose"]
_PODMAN_COMPOSE = f"""#!/bin/sh
PYTHONPATH={FOLDER}/python exec python3 -m podman_compose "$@"
"""


def clients(platform: Platform) -> Path:
    """A folder with `bin/` and, for the platform's Python, `python/`."""
    inputs = paths.key(Path(__file__), Path(debs.__file__), debian.mirror(), platform.python)
    return paths.product(
        f"docker-clients/{platform.name}", inputs, lambda to: _make(platform.python, to)
    )


def put(platform: Platform, node: str) -> None:
    """Put the clients into `FOLDER` on a node.

    Raises:
        NodeError: the node did not take them.
    """
    tar = ["tar", "-C", str(clients(platform)), "--owner=0", "--group=0", "-cf", "-", "."]
    take = f"mkdir -p {FOLDER} && tar -C {FOLDER} -xf -"
    with subprocess.Popen(tar, stdout=subprocess.PIPE) as source:
        done = subprocess.run(
            podman.command("exec", "--interactive", node, "sh", "-c", take),
            stdin=source.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode or source.returncode:
        raise NodeError(f"node {node} does not take Docker's clients: {done.stderr.strip()}")


def _make(python: str, to: Path) -> None:
    to.chmod(0o755)
    (to / "bin").mkdir()
    debs.unpack(_SUITE, _DEBS, to / "debs")
    debs.unpack(_SHELL_SUITE, _SHELL_DEBS, to / "debs")
    for file in ("usr/bin/docker", "usr/libexec/docker/cli-plugins/docker-compose", "bin/tcsh"):
        (to / "debs" / file).rename(to / "bin" / Path(file).name)
    subprocess.run(["rm", "-r", to / "debs"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", to / "python"]
    pip += ["--python-version", python, "--only-binary", ":all:", "--no-compile"]
    subprocess.run([*pip, *_WHEELS], check=True)
    script = to / "bin" / "podman-compose"
    script.write_text(_PODMAN_COMPOSE)
    script.chmod(0o755)
