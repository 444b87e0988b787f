#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Values of role podman that only the node itself can judge."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_podman_values
short_description: Judge calendars, address pools and images on the node that is to use them
description:
  - Fails with every problem at once, each with the variable's name and the mend.
  - Systemd judges its calendar expressions. Pools are held against each other and against the
    node's addresses and routes; Podman itself would look at addresses only.
  - Images must be in the OCI layout that they are to be copied from.
options:
  calendars:
    description: Calendar expression by the name of its variable; an empty one is right.
    type: dict
    default: {}
  address_pools:
    description: Ranges that networks are cut from, C(podman_address_pools).
    type: list
    elements: dict
    default: []
    suboptions:
      base:
        description: Address range as CIDR.
        type: str
        required: true
      size:
        description: Prefix length of one network.
        type: int
        required: true
  layout:
    description: Directory of the OCI layout, C(podman_images_layout).
    type: path
    default: ""
  images:
    description: Images that are to come from it, C(podman_images).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Full name, the layout's annotation org.opencontainers.image.ref.name.
        type: str
        required: true
      digest:
        description: Digest of the image's manifest.
        type: str
        required: true
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: It changes nothing in either mode.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Judge what the node has to judge
  landbridge_podman_values:
    calendars:
      podman_prune_calendar: weekly
    address_pools:
      - base: 10.200.0.0/16
        size: 24
"""

RETURN = r"""
problems:
  description: One sentence each.
  returned: always
  type: list
  elements: str
  sample: []
"""

import ipaddress
import itertools
import json
import struct
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

ROUTES = Path("/proc/net/route")
DEVICES = Path("/sys/class/net")
NAME = "org.opencontainers.image.ref.name"
# Podman, and Docker before it, give each container one end of such a pair.
VIRTUAL = "veth"


def bad_calendars(calendars):
    """A sentence for each expression that systemd does not understand."""
    found = []
    for variable, expression in calendars.items():
        if not expression:
            continue
        command = ["systemd-analyze", "calendar", "--", str(expression)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if done.returncode != 0:
            found.append(
                f"{variable} is '{expression}', which is no calendar expression of systemd: "
                "write for example weekly or 'Sun 03:00' (systemd.time(7))"
            )
    return found


def own_bridge(device):
    """Whether a network device is a bridge that serves containers only.

    Such bridges are made from the very pools; one with a port to a real network is the node's.
    """
    ports = DEVICES / device / "brif"
    return ports.is_dir() and all(port.name.startswith(VIRTUAL) for port in ports.iterdir())


def routes():
    """(network, device) of each route that is not the default one, connected networks included."""
    found = []
    for line in ROUTES.read_text(encoding="utf-8").splitlines()[1:]:
        fields = line.split()
        # Numbers as the kernel holds them: the machine's byte order.
        address, mask = (struct.pack("=L", int(fields[i], 16)) for i in (1, 7))
        network = ipaddress.ip_network((address, str(ipaddress.ip_address(mask))))
        if network.prefixlen and not own_bridge(fields[0]):
            found.append((network, fields[0]))
    return found


def parse(pool):
    """A pool's network; ValueError says what is wrong with it."""
    base, size = pool["base"], pool["size"]
    try:
        network = ipaddress.ip_network(base)
    except ValueError as error:
        raise ValueError(f"{error}: write the range as CIDR, for example 10.200.0.0/16") from None
    if "/" not in base or network.version != 4:
        raise ValueError("write an IPv4 range as CIDR, for example 10.200.0.0/16")
    # One address for the network, one for the bridge, one for a container, one for broadcast.
    if not network.prefixlen <= size <= 30:
        raise ValueError(f"size must be from {network.prefixlen} to 30, and is {size}")
    return network


def bad_pools(pools):
    """A sentence for each pool that is malformed, or not free."""
    found, networks = [], []
    for pool in pools:
        try:
            networks.append(parse(pool))
        except ValueError as error:
            found.append(f"podman_address_pools, base {pool['base']}: {error}")
    for one, other in itertools.combinations(networks, 2):
        if one.overlaps(other):
            found.append(f"podman_address_pools: {one} and {other} overlap; drop one of them")
    for network in networks:
        for route, device in routes():
            if network.overlaps(route):
                found.append(
                    f"podman_address_pools: {network} overlaps {route}, which this node reaches "
                    f"through {device}; choose a range that nothing uses"
                )
    return found


def bad_images(layout, images):
    """A sentence for each image that is not in the layout, or is another one there."""
    index = Path(layout, "index.json")
    if not images:
        return []
    if not index.is_file():
        return [
            f"podman_images_layout is {layout}, which is no OCI layout (it has no {index.name}): "
            "name the directory that holds podman_images, or set neither of the two"
        ]
    entries = json.loads(index.read_text(encoding="utf-8"))["manifests"]
    there = {entry.get("annotations", {}).get(NAME): entry["digest"] for entry in entries}
    return [
        f"podman_images has {image['name']} with {image['digest']}, and {layout} has "
        f"{there.get(image['name'], 'no image of that name')}: name what is there, or bring a "
        "bundle that has it"
        for image in images
        if there.get(image["name"]) != image["digest"]
    ]


def main():
    """Run as an Ansible module."""
    pool = {"base": {"type": "str", "required": True}, "size": {"type": "int", "required": True}}
    image = {name: {"type": "str", "required": True} for name in ("name", "digest")}
    module = AnsibleModule(
        argument_spec={
            "calendars": {"type": "dict", "default": {}},
            "address_pools": {"type": "list", "elements": "dict", "default": [], "options": pool},
            "layout": {"type": "path", "default": ""},
            "images": {"type": "list", "elements": "dict", "default": [], "options": image},
        },
        supports_check_mode=True,
    )
    try:
        problems = bad_calendars(module.params["calendars"])
        problems += bad_pools(module.params["address_pools"])
        problems += bad_images(module.params["layout"], module.params["images"])
    except (OSError, ValueError, LookupError) as error:
        module.fail_json(msg=f"cannot judge variables on this node: {error}")
    if problems:
        module.fail_json(msg="\n".join(problems), problems=problems)
    module.exit_json(changed=False, problems=[])


if __name__ == "__main__":
    main()
