"""A lab machine under qemu's software emulation: what no container can show.

Its kernel is its own: SELinux enforces, and cgroups limit memory and processors. It has a network
to the machine it runs on and no further.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from landbridge.errors import NodeError
from tests.lab import bundle as lab_bundle
from tests.lab import nodes, paths, roots, vm_disk
from tests.lab.platforms import Platform

_BOOT_SECONDS = 300
_MEMORY = "4G"
# What the policy gives files of /srv.
_CONTEXT = "system_u:object_r:var_t:s0"
_KERNEL_OPTIONS = (
    "console=ttyS0 root=/dev/vda rw quiet net.ifnames=0 "
    "lsm=selinux,bpf selinux=1 enforcing=1 audit_backlog_limit=8192"
)

_SSH = {
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
    "LogLevel": "ERROR",
    "IdentitiesOnly": "yes",
    "ServerAliveInterval": "30",
}


@dataclass(frozen=True)
class Machine:
    """A running machine and its ssh port on loopback."""

    port: int
    serial: Path

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script as root, its standard error among its output."""
        target = ["-p", str(self.port), "-i", str(roots.ssh_key()), "root@127.0.0.1"]
        options = [word for key, value in _SSH.items() for word in ("-o", f"{key}={value}")]
        return subprocess.run(
            ["ssh", *options, *target, "sh", "-s"],
            input=f"exec 2>&1\n{script}\n",
            capture_output=True,
            text=True,
            check=False,
        )

    def inventory(self, folder: Path, variables: dict[str, Any]) -> Path:
        """An inventory of this machine alone."""
        host = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(roots.ssh_key()),
            "ansible_ssh_common_args": " ".join(f"-o {k}={v}" for k, v in _SSH.items()),
            "landbridge_depot": nodes.BUNDLE_MOUNT,
            "landbridge_trusted_keys": [lab_bundle.public_key().read_text()],
        }
        file = folder / "inventory.yml"
        file.write_text(yaml.safe_dump({"all": {"hosts": {"vm": host}, "vars": variables}}))
        return file


@contextmanager
def booted(platform: Platform, bundle: Path, serial: Path) -> Iterator[Machine]:
    """A machine that lasts as long as the context; nothing that it writes is kept.

    Args:
        platform: whose root it has.
        bundle: what it finds at `nodes.BUNDLE_MOUNT`.
        serial: file for what its kernel prints.

    Raises:
        NodeError: it did not boot; the end of what it printed is in the message.
    """
    disk = vm_disk.disk(platform, bundle)
    port = _free_port()
    drives = [_drive(disk.root), _drive(vm_disk.bundle_disk(bundle))]
    # It ends with who has started it, also where that is killed.
    command = ["setpriv", "--pdeathsig", "TERM", "qemu-system-x86_64"]
    command += ["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]
    command += ["-smp", "2", "-m", _MEMORY, "-display", "none", "-no-reboot"]
    command += ["-serial", f"file:{serial}", "-append", _KERNEL_OPTIONS]
    command += ["-kernel", str(disk.kernel), "-initrd", str(disk.initramfs)]
    command += [word for drive in drives for word in ("-drive", drive)]
    forward = f"hostfwd=tcp:127.0.0.1:{port}-:22"
    command += ["-netdev", f"user,id=lab,restrict=on,{forward}"]
    command += ["-device", "virtio-net-pci,netdev=lab"]
    # What it writes is in an unnamed file there.
    environment = os.environ | {"TMPDIR": str(paths.cache())}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        machine = Machine(port, serial)
        _wait(machine, process)
        # The disk has no labels; at boot the policy lets nobody give it some, but root may.
        mount = f"mount -o ro,context={_CONTEXT} /dev/vdb {nodes.BUNDLE_MOUNT}"
        done = machine.run(f"mkdir -p {nodes.BUNDLE_MOUNT}; {mount}")
        if done.returncode:
            raise NodeError(f"the machine does not mount its bundle: {done.stdout}")
        yield machine
    finally:
        process.terminate()
        process.wait()


def _drive(image: Path) -> str:
    return f"file={image},if=virtio,format=raw,snapshot=on,cache=unsafe"


def _wait(machine: Machine, process: subprocess.Popen[bytes]) -> None:
    deadline, state = time.monotonic() + _BOOT_SECONDS, ""
    while time.monotonic() < deadline and process.poll() is None:
        state = machine.run("systemctl is-system-running").stdout.strip()
        if state == "running":
            return
        if state == "degraded":
            break
        time.sleep(1)
    failed = machine.run("systemctl --failed --no-legend").stdout if state else ""
    printed = machine.serial.read_text(errors="replace")[-3000:]
    raise NodeError(f"the machine is '{state}' instead of running:\n{failed}\n{printed}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
