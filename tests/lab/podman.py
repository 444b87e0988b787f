"""Podman inside the holder, with its own storage in the cache."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from landbridge.errors import NodeError
from tests.lab import holder, paths, roots
from tests.lab.platforms import Platform

OWN = "localhost/landbridge-lab/"  # images of the lab's, which have its key for ssh
NETWORK = "lab"
SUBNET = "10.99.0.0/24"
SUBNET_6 = "fd00:6c62::/64"  # of a story that gives its nodes addresses
DNS = "10.99.0.1"  # aardvark-dns: it knows the nodes' names and nothing else


def command(*arguments: str | Path) -> list[str]:
    """The full command line of podman in the holder."""
    store = paths.cache() / "podman"
    return [
        *holder.enter("-m", "-n", "-u"),
        *("podman", "--root", str(store / "storage"), "--runroot", "/run/landbridge-lab/root"),
        *("--tmpdir", "/run/landbridge-lab/tmp", "--network-config-dir", str(store / "networks")),
        *("--cgroup-manager", "cgroupfs", "--log-level", "error"),
        *map(str, arguments),
    ]


def run(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman in the holder and return what it said.

    Raises:
        NodeError: it failed, and `check` was asked for; its standard error is in the message.
    """
    # Children that outlive podman (conmon) must not hold our pipes: output goes through files.
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    if check and done.returncode:
        shown = " ".join(map(str, arguments))
        raise NodeError(f"podman {shown}: exit {done.returncode}\n{done.stderr.strip()}")
    return done


def exists(kind: str, name: str) -> bool:
    """Whether podman has the `container`, `image` or `network` called `name`."""
    return run(kind, "exists", name, check=False).returncode == 0


def network() -> str:
    """The name of the nodes' network, which leads nowhere; made if missing."""
    if not exists("network", NETWORK):
        run("network", "create", "--internal", "--subnet", SUBNET, NETWORK)
    return NETWORK


def image(platform: Platform) -> str:
    """The name of `platform`'s node image; imported if missing, older ones are removed."""
    root = roots.root(platform)
    name = f"{OWN}{platform.name}:{root.parent.name}"
    if exists("image", name):
        return name
    with paths.stage(f"import the image of {platform.name}"):
        changes = ["--change", "STOPSIGNAL SIGRTMIN+3", "--change", 'CMD ["/sbin/init"]']
        tar = ["tar", "-C", str(root), "--xattrs", "--xattrs-include=*", "-cf", "-", "."]
        with subprocess.Popen(tar, stdout=subprocess.PIPE) as source:
            done = subprocess.run(
                command("import", "--quiet", *changes, "-", name),
                stdin=source.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode or source.returncode:
            raise NodeError(f"podman import of {name} failed:\n{done.stderr}")
    _remove_older(name)
    return name


def commit(node: str, name: str) -> None:
    """Make an image of what a node that does not run has on its disk; older ones are removed."""
    run("commit", "--quiet", node, name)
    _remove_older(name)


def _remove_older(name: str) -> None:
    """Remove images of the same repository, but for those in use by a node."""
    reference = f"reference={name.rpartition(':')[0]}"
    older = run("images", "--quiet", "--filter", reference, "--filter", f"before={name}")
    for identity in older.stdout.split():
        run("rmi", identity, check=False)


def foreign(name: str) -> str:
    """An image of the user's own; pulled by the machine if it is not here, for the holder cannot.

    Raises:
        NodeError: it cannot be pulled.
    """
    if exists("image", name):
        return name
    with paths.stage(f"pull {name}"), tempfile.TemporaryDirectory(dir=paths.cache()) as folder:
        archive = Path(folder, "image.tar")
        copy = ["skopeo", "copy", "--quiet", f"docker://{name}", f"docker-archive:{archive}:{name}"]
        done = subprocess.run(copy, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NodeError(f"{name} cannot be pulled:\n{done.stderr.strip()}")
        run("load", "--quiet", "--input", archive)
    return name


def wrapper() -> Path:
    """An executable that is podman in the holder, for Ansible's podman connection."""
    path = paths.cache() / "bin" / "podman"
    path.parent.mkdir(exist_ok=True)
    text = "#!/bin/sh\nexec " + " ".join(command()) + ' "$@"\n'
    if not path.exists() or path.read_text() != text:
        temporary = path.with_suffix(".new")
        temporary.write_text(text)
        temporary.chmod(0o755)
        temporary.rename(path)
    return path
