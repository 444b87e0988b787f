"""The holder: one process whose private namespaces hold all of podman's world.

Its mounts (a fresh cgroup2, /run, /dev/shm), network and host name are its own, so that the lab
touches nothing of the machine's. It sleeps until `down`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from landbridge.errors import NodeError
from tests.lab import paths

_TITLE = "landbridge-lab-holder"
_START_SECONDS = 5

# The lab's own DNS has nobody to forward unknown names to.
_SCRIPT = f"""
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir -p /run/lock /run/netns
: > /run/resolv.conf
mount --bind /run/resolv.conf /etc/resolv.conf
ip link set lo up
echo $$ > "$1"
exec -a {_TITLE} sleep infinity
"""


def _pid_file() -> Path:
    return paths.cache() / "holder.pid"


def running() -> int | None:
    """The holder's process id, or None; a stale pid file does not fool it."""
    try:
        pid = int(_pid_file().read_text())
        title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except (OSError, ValueError):
        return None
    return pid if title == _TITLE.encode() else None


def pid() -> int:
    """The holder's process id; it is started if need be.

    Raises:
        NodeError: it did not start; what it said is in the message.
    """
    if found := running():
        return found
    log = paths.cache() / "holder.log"
    _pid_file().unlink(missing_ok=True)
    command = ["unshare", "-m", "-n", "-u", "--propagation", "private"]
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "bash", "-ec", _SCRIPT, "holder", _pid_file()],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := running():
            return found
        time.sleep(0.02)
    raise NodeError(f"the lab's holder did not start:\n{log.read_text()}", "the lab needs root")


def stop() -> None:
    """End the holder; its namespaces go with it."""
    if found := running():
        with contextlib.suppress(ProcessLookupError):
            os.kill(found, signal.SIGKILL)
    _pid_file().unlink(missing_ok=True)


def enter(*namespaces: str) -> list[str]:
    """The start of a command that runs in the holder's namespaces (`-m`, `-n`, `-u`)."""
    return ["nsenter", "-t", str(pid()), *namespaces]
