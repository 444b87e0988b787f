"""An Ansible inventory and an ssh configuration of lab nodes, for what reaches them over SSH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.lab import bundle, nodes


def write(file: Path, names: list[str], depot: str = nodes.BUNDLE_MOUNT) -> Path:
    """Write the inventory of `names`, which trust the lab's key.

    Args:
        file: where; a name that ends in `.yml`.
        names: nodes that are up.
        depot: the bundle's directory on the nodes.
    """
    hosts = {name: _variables(nodes.find(name)) for name in names}
    trusted = {"landbridge_trusted_keys": [bundle.public_key().read_text()]}
    everything = {"hosts": hosts, "vars": {"landbridge_depot": depot, **trusted}}
    file.write_text(yaml.safe_dump({"all": everything}, sort_keys=False))
    return file


def write_ssh_config(file: Path, names: list[str]) -> Path:
    """Write an ssh configuration in which the nodes are hosts by their names."""
    file.write_text(nodes.ssh_config(*names))
    return file


def _variables(node: nodes.Node) -> dict[str, Any]:
    options = {
        "ProxyCommand": f"'{node.proxy_command}'",
        "ControlPath": node.control_path,
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
    }
    return {
        "ansible_host": node.host,
        "ansible_port": node.port,
        "ansible_user": node.user,
        "ansible_ssh_private_key_file": node.identity_file,
        "ansible_ssh_common_args": " ".join(f"-o {k}={v}" for k, v in options.items()),
    }
