"""Lab nodes: containers with systemd as PID 1 on a network that leads nowhere."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from landbridge.errors import InputError, NodeError
from tests.lab import egress, holder, paths, podman, roots, sysctls
from tests.lab.platforms import platform as platform_named

BUNDLE_MOUNT = "/srv/landbridge/bundle"
_BOOT_SECONDS = 60
_LABEL = "landbridge.lab"

# What systemd as PID 1 and podman inside the node need. The pids controller and raised limits do
# not exist here (see data/masked.txt and node/ for what else a node must not do to the machine).
_OPTIONS = [
    *("--systemd=always", "--privileged", "--pids-limit=-1"),
    *("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096"),
    # Overlay on overlay does not work: podman's storage inside the node, root's and the users',
    # is on volumes.
    *("--volume", "/var/lib/containers", "--volume", "/home"),
    *("--dns", podman.DNS, "--dns-option", "timeout:1", "--dns-option", "attempts:1"),
]


@dataclass(frozen=True)
class Node:
    """A running node, and how to reach it from the machine."""

    name: str
    platform: str
    connection: str  # `ssh`, or `podman` for an image without the lab's key
    host: str
    port: int
    user: str
    identity_file: str
    proxy_command: str
    # Named after the container: addresses come round again, and an ssh connection that is kept
    # open must never lead to another node than the one it was made for.
    control_path: str
    podman: str  # an executable: podman that knows this node

    def as_dict(self) -> dict[str, str | int]:
        """For JSON."""
        return asdict(self)


def create(name: str, platform: str, bundle: Path | None = None, image: str | None = None) -> Node:
    """Boot a node, in place of one of the same name.

    Args:
        name: host name, reachable as such by its peers.
        platform: `el9` or `el10`.
        bundle: directory mounted read-only at `BUNDLE_MOUNT`.
        image: another one than the platform's, with systemd at /sbin/init and Python: made by
            `save`, or not the lab's, which is reached through podman's exec.

    Raises:
        NodeError: it did not boot; its failed units are in the message.
    """
    target = platform_named(platform)
    if bundle is not None and not bundle.is_dir():
        raise InputError(f"{bundle}: no such directory", "build the bundle first")
    options = [*_OPTIONS, "--network", podman.network(), "--hostname", name, "--name", name]
    own = image is None or image.startswith(podman.OWN)
    options += ["--label", f"{_LABEL}={target.name}", "--label", f"{_LABEL}.own={own}"]
    if bundle is not None:
        options += ["--volume", f"{bundle.resolve()}:{BUNDLE_MOUNT}:ro"]
    chosen = podman.foreign(image) if image else podman.image(target)
    destroy(name)
    podman.run("create", *options, chosen, "/sbin/init")
    _boot(name)
    return find(name)


def restart(name: str) -> Node:
    """Reboot a node; what is on its disk stays, its packet count starts anew."""
    find(name)
    monitor = int(_inspect(name, "{{.State.ConmonPid}}"))
    podman.run("stop", "--time", "20", name)
    _wait_cleaned(name, monitor)
    _boot(name)
    return find(name)


def save(name: str, image: str) -> None:
    """Keep what a node has on its disk as an image for other nodes; the node is deleted."""
    podman.run("stop", "--time", "20", name)
    podman.commit(name, image)
    destroy(name)


def destroy(*names: str) -> None:
    """Delete nodes with everything on them; one that is not there is no error."""
    if holder.running():
        remove = ("rm", "--force", "--time", "2", "--volumes", "--ignore", *names)
        # Podman fails where a node ends in the moment in which it is about to be killed.
        if podman.run(*remove, check=False).returncode:
            podman.run(*remove)


def listing() -> list[str]:
    """Names of the nodes there are."""
    if not holder.running():
        return []
    done = podman.run("ps", "--all", "--filter", f"label={_LABEL}", "--format", "{{.Names}}")
    return sorted(done.stdout.split())


def find(name: str) -> Node:
    """The node called `name`.

    Raises:
        InputError: there is none.
    """
    if not holder.running() or not podman.exists("container", name):
        raise InputError(f"no lab node '{name}'", "python -m tests.lab node create NAME PLATFORM")
    labels = _inspect(
        name, f'{{{{index .Config.Labels "{_LABEL}"}}}} {{{{index .Config.Labels "{_LABEL}.own"}}}}'
    ).split()
    return Node(
        name=name,
        platform=labels[0],
        connection="ssh" if labels[1] == "True" else "podman",
        host=_address(name),
        port=22,
        user="root",
        identity_file=str(roots.ssh_key()),
        proxy_command=f"nsenter -t {holder.pid()} -n socat - TCP:%h:%p",
        control_path=str(paths.cache() / f"ssh-{_inspect(name, '{{.Id}}')[:12]}"),
        podman=str(podman.wrapper()),
    )


def packets(name: str) -> int:
    """Packets that the node meant for outside since it booted."""
    return egress.packets(_pid(find(name).name))


def execute(name: str, command: list[str]) -> int:
    """Run a command on a node as root, with this process's input and output; its exit code."""
    find(name)
    return subprocess.run(
        podman.command("exec", "--interactive", name, *command), check=False
    ).returncode


def ssh_config(*names: str) -> str:
    """Text of an ssh configuration in which the nodes are hosts by their names."""
    return "\n".join(
        f"Host {node.name}\n  HostName {node.host}\n  Port {node.port}\n  User {node.user}\n"
        f"  IdentityFile {node.identity_file}\n  IdentitiesOnly yes\n"
        f"  ProxyCommand {node.proxy_command}\n  StrictHostKeyChecking no\n"
        "  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n"
        for node in map(find, names)
    )


@contextlib.contextmanager
def forwarded(name: str, port: int) -> Iterator[int]:
    """A port of the machine's loopback that leads to one of the node's, as users' tunnels do.

    Raises:
        NodeError: ssh did not open it; what it said is in the message.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        local = int(probe.getsockname()[1])
    with tempfile.NamedTemporaryFile("w+") as config, tempfile.TemporaryFile("w+") as log:
        config.write(ssh_config(name))
        config.flush()
        options = ["-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{local}:127.0.0.1:{port}"]
        tunnel = subprocess.Popen(
            ["ssh", "-N", "-F", config.name, *options, name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + _BOOT_SECONDS
            while not _listens(local):
                if tunnel.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise NodeError(f"no tunnel to port {port} of {name}: {log.read()}")
                time.sleep(0.1)
            yield local
        finally:
            tunnel.terminate()
            tunnel.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def down() -> None:
    """Delete every node and end the holder."""
    names = listing()
    if names:
        destroy(*names)
    holder.stop()


def _boot(name: str) -> None:
    """Start a container whose network is guarded before its first process runs."""
    podman.run("init", name)
    egress.guard(_pid(name), _address(name), podman.SUBNET, podman.SUBNET_6)
    with sysctls.kept():
        podman.run("start", name)
        _wait_running(name)
    if _inspect(name, f'{{{{index .Config.Labels "{_LABEL}.own"}}}}') == "True":
        _wait_ssh(name)


def _wait_cleaned(name: str, monitor: int) -> None:
    """Wait until the monitor of a stopped node, which clears up after it, has ended too.

    A machine with much to do lets it clear up after the next boot has begun, and kill that.
    """
    deadline = time.monotonic() + _BOOT_SECONDS
    while Path(f"/proc/{monitor}").exists():
        if time.monotonic() > deadline:
            raise NodeError(f"node {name} does not end", f"process {monitor} clears up after it")
        time.sleep(0.1)


def _wait_running(name: str) -> None:
    deadline = time.monotonic() + _BOOT_SECONDS
    state = ""
    while time.monotonic() < deadline:
        # Not with --wait, which may miss the end of the boot and then waits for ever.
        done = podman.run("exec", name, "systemctl", "is-system-running", check=False)
        state = done.stdout.strip() or done.stderr.strip()
        if state == "running":
            return
        if state == "degraded":
            break
        time.sleep(0.2)
    failed = podman.run("exec", name, "systemctl", "--failed", "--no-legend", check=False).stdout
    raise NodeError(f"node {name} is '{state}' instead of running:\n{failed}", "see its journal")


def _wait_ssh(name: str) -> None:
    address, deadline = _address(name), time.monotonic() + _BOOT_SECONDS
    probe = [*holder.enter("-n"), "socat", "-T1", "-u", f"TCP:{address}:22", "-"]
    while time.monotonic() < deadline:
        done = subprocess.run(probe, capture_output=True, check=False, timeout=_BOOT_SECONDS)
        if done.stdout.startswith(b"SSH-2.0"):
            return
        time.sleep(0.1)
    raise NodeError(f"sshd of node {name} does not answer", "see its journal: journalctl -u sshd")


def _pid(name: str) -> int:
    return int(_inspect(name, "{{.State.Pid}}"))


def _address(name: str) -> str:
    return _inspect(name, f"{{{{.NetworkSettings.Networks.{podman.NETWORK}.IPAddress}}}}")


def _inspect(name: str, form: str) -> str:
    return podman.run("container", "inspect", "--format", form, name).stdout.strip()
