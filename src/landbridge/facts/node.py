"""A node as the host checks see it: its snapshot, and a way to run something on it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import testinfra
import yaml
from testinfra.backend.base import CommandResult
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from landbridge.errors import NodeError
from landbridge.facts.gather import DEPOT, PLATFORM_PYTHON, Snapshot, script_command, take_snapshot


class Node:
    """One host of an inventory.

    Args:
        name: its name in the inventory.
        host: testinfra's connection to it, as root.
        depot: path of the depot on the node.
        is_hub: whether its inventory wants JupyterHub on it.
    """

    def __init__(self, name: str, host: Host, depot: str = DEPOT, *, is_hub: bool = True) -> None:
        self.name = name
        self.host = host
        self.is_hub = is_hub
        self._depot = depot

    def __repr__(self) -> str:
        return self.name

    @property
    def facts(self) -> Snapshot:
        """The snapshot, taken at first use; a failure is remembered too.

        Raises:
            NodeError: the node is out of reach or answers nonsense.
        """
        if isinstance(self._outcome, NodeError):
            raise self._outcome
        return self._outcome

    @cached_property
    def _outcome(self) -> Snapshot | NodeError:
        try:
            return take_snapshot(self.host.run, self._depot)
        except NodeError as error:
            return error

    @property
    def content(self) -> dict[str, Any]:
        """The depot's content.json."""
        return self.facts.depot.content

    @property
    def stack(self) -> dict[str, Any]:
        """The depot's stack.yml."""
        loaded: dict[str, Any] = yaml.safe_load(self.facts.depot.stack)
        return loaded

    def promised(self, role: str) -> dict[str, Any]:
        """What a role was told to do on this node; empty where it never ran to its end."""
        return self.facts.promises.get(role, {})

    @cached_property
    def target(self) -> str:
        """The node's target, for example `el9-x86_64`."""
        major = self.facts.os_release["VERSION_ID"].split(".")[0]
        return f"el{major}-{self.host.run('uname -m').stdout.strip()}"

    def unit(self, name: str) -> str:
        """Whether a systemd unit is `active`, `failed` ...; `absent` if none of the name is."""
        unit = self.facts.systemd.units.get(name)
        return unit.active if unit else "absent"

    def run(self, *command: str, user: str | None = None) -> CommandResult:
        """Run a command as root, or in a login shell of `user`, whose own may be nologin."""
        line = shlex.join(command)
        if user is not None:
            # Rootless Podman asks for it; not every platform's runuser opens a session.
            session = "export XDG_RUNTIME_DIR=/run/user/$(id -u); exec "
            line = shlex.join(["runuser", "-l", user, "-s", "/bin/bash", "-c", session + line])
        return self.host.run(line)

    def output(self, *command: str, user: str | None = None) -> str:
        """Stdout of a command that must succeed.

        Raises:
            NodeError: it failed; the message ends with what it said.
        """
        done = self.run(*command, user=user)
        if done.rc != 0:
            said = (done.stderr.strip() or done.stdout.strip())[-1000:]
            raise NodeError(f"{shlex.join(command)}: exit code {done.rc}: {said}")
        return str(done.stdout)

    def script(
        self,
        script: Path,
        arguments: Sequence[str] = (),
        *,
        python: str = PLATFORM_PYTHON,
        user: str | None = None,
    ) -> Any:
        """What a Python script prints as JSON when the node's `python` runs it.

        Raises:
            NodeError: the script failed on the node.
        """
        command = script_command(script, arguments, python)
        return json.loads(self.output(*command, user=user))


@dataclass(frozen=True)
class Nodes:
    """The nodes of an inventory, which Ansible has read once.

    Attributes:
        inventory: its file or folder.
        read: what `ansible-inventory --list` says of it.
    """

    inventory: Path
    read: dict[str, Any]

    @classmethod
    def of(cls, inventory: Path) -> Nodes:
        """Read an inventory; `landbridge_depot` of a host says where its depot is.

        Raises:
            NodeError: Ansible cannot read it.
        """
        try:
            return cls(inventory, AnsibleRunner(str(inventory)).inventory)
        except (AssertionError, RuntimeError) as error:
            raise _unreadable(inventory, error) from error

    def names(self, pattern: str = "all") -> list[str]:
        """Names of hosts, sorted.

        Args:
            pattern: a host or a group.

        Raises:
            NodeError: no host matches.
        """
        try:
            names: list[str] = self._runner.get_hosts(pattern)
        except RuntimeError as error:
            raise _unreadable(self.inventory, error) from error
        if not names:
            raise NodeError(f"{self.inventory}: no host or group matches {pattern!r}")
        return names

    def node(self, name: str) -> Node:
        """One of them."""
        variables = self._runner.get_variables(name)
        host = testinfra.get_host(f"ansible://{name}", ansible_inventory=str(self.inventory))
        # As in site.yml: all nodes, unless the group `hub` names them.
        is_hub = name in variables["groups"].get("hub", [name])
        return Node(name, host, variables.get("landbridge_depot", DEPOT), is_hub=is_hub)

    @property
    def _runner(self) -> AnsibleRunner:
        """The one that testinfra's connections ask as well; it need not read again."""
        runner = AnsibleRunner.get_runner(str(self.inventory))
        runner.inventory = self.read
        return runner


def _unreadable(inventory: Path, error: Exception) -> NodeError:
    return NodeError(f"{inventory}: {error}", "see `ansible-inventory --list -i PATH`")
