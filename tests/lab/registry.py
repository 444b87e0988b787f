"""A container registry on a lab node, over plain HTTP, for tests of what pulls from one.

It is the machine's docker-registry as a service of the node, which comes back after a restart.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from landbridge.errors import NodeError
from tests.lab import holder, nodes, podman

BINARY = Path("/usr/bin/docker-registry")
PORT = 5000
FOLDER = "/opt/landbridge-lab/registry"
UNIT = "landbridge-lab-registry"
# The only account of a closed registry; the hash is bcrypt's, at its least cost.
USERNAME = "puller"
PASSWORD = "sesame-7Qh2-of-the-lab"
_HTPASSWD = f"{USERNAME}:$2a$05$abcdefghijklmnopqrstuu2BgSwHOZMQTX03kVTXlt02gxz5MiTja"

_CONFIG = f"""\
version: 0.1
log: {{level: info, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {FOLDER}/data}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{addr: ":{PORT}"}}
"""
_CLOSED = f"auth: {{htpasswd: {{realm: lab, path: {FOLDER}/htpasswd}}}}\n"
_SERVICE = f"""\
[Service]
ExecStart={FOLDER}/docker-registry serve {FOLDER}/config.yml
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Registry:
    """A registry that runs on a node."""

    node: str
    closed: bool  # nobody pulls or pushes without USERNAME and PASSWORD

    @property
    def address(self) -> str:
        """Its `host:port`, as every node knows it."""
        return f"{self.node}:{PORT}"

    def push(self, layout: Path, name: str, target: str | None = None) -> str:
        """Copy an image into the registry, from the machine.

        Args:
            layout: OCI layout.
            name: the image's name in it.
            target: `repository:tag` in the registry; `name` unless given.

        Returns:
            The digest of its manifest there.

        Raises:
            NodeError: skopeo failed.
        """
        host = f"{nodes.find(self.node).host}:{PORT}"
        with tempfile.TemporaryDirectory() as scratch:
            digest = Path(scratch, "digest")
            options = ["--insecure-policy", "copy", "--quiet", "--preserve-digests"]
            options += ["--dest-tls-verify=false", "--digestfile", str(digest)]
            if self.closed:
                options += ["--dest-creds", f"{USERNAME}:{PASSWORD}"]
            _run("skopeo", *options, f"oci:{layout}:{name}", f"docker://{host}/{target or name}")
            return digest.read_text().strip()

    def requests(self) -> list[str]:
        """Methods and paths that it was asked for since the node booted, oldest first."""
        said = podman.run("exec", self.node, "journalctl", "-b", "-o", "json", "-u", UNIT).stdout
        lines = [str(json.loads(line)["MESSAGE"]) for line in said.splitlines()]
        return [line.split('"')[1] for line in lines if 'HTTP/1.1" ' in line]


def start(node: str, *, closed: bool = False) -> Registry:
    """Start a registry on a node, in place of one that runs there; its images are kept.

    Raises:
        NodeError: it did not start.
    """
    files = {
        "docker-registry": BINARY.read_bytes(),
        "htpasswd": f"{_HTPASSWD}\n".encode(),
        "config.yml": (_CONFIG + (_CLOSED if closed else "")).encode(),
        f"{UNIT}.service": _SERVICE.encode(),
    }
    _shell(node, f"mkdir -p {FOLDER}/data; systemctl stop {UNIT} 2>/dev/null; true")
    for name, content in files.items():
        _shell(node, f"cat >{FOLDER}/{name}", content)
    _shell(
        node,
        f"chmod 755 {FOLDER}/docker-registry; systemctl enable --now {FOLDER}/{UNIT}.service"
        f" && until curl -so /dev/null http://127.0.0.1:{PORT}/; do"
        f" systemctl is-active --quiet {UNIT} || exit 1; sleep 0.05; done",
    )
    return Registry(node, closed)


def stop(node: str) -> None:
    """Stop the registry; nothing answers at its address until the next start."""
    _shell(node, f"systemctl disable --now {UNIT}.service")


def _shell(node: str, script: str, content: bytes = b"") -> None:
    done = subprocess.run(
        podman.command("exec", "--interactive", node, "sh", "-c", script),
        input=content,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise NodeError(f"registry on {node}: {done.stderr.decode().strip()}", f"see {UNIT}'s log")


def _run(*command: str) -> None:
    """Run a program of the machine in the nodes' network."""
    inside = [*holder.enter("-n"), *command]
    done = subprocess.run(inside, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NodeError(f"{command[0]}: {done.stderr.strip()[-800:]}", "see the registry's log")
