#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""What Docker holds on a node, and what each thing needs under Podman."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_docker_survey
short_description: List what Docker holds on a node, and what each thing needs under Podman
description:
  - Reads Docker's API on its socket, its daemon.json, unit and packages; changes nothing.
  - Never starts Docker. Where its daemon does not run, what lies in its data directory is counted.
  - Where Podman answers at Docker's socket, Docker is absent or stopped.
  - Values that look like secrets are in no part of the answer.
options: {}
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Does the same, as it changes nothing anyway.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Look at Docker
  landbridge_docker_survey:
  register: podman_docker
"""

RETURN = r"""
survey:
  description:
    - What is there; see docs/docker.md of Landbridge for all of its keys.
    - Lists that only a running daemon knows are empty where it does not run; then C(unknown) says
      what lies in the data directory.
  returned: always
  type: dict
  sample:
    daemon: running
    version: 27.0.0
    data_root: /var/lib/docker
    containers:
      - name: web
        image: nginx:1
        state: running
        loses: []
        needs: []
        quadlet: {name: web, type: container, sections: {Container: {}}}
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_docker_api import ApiError, Docker
from ansible.module_utils.landbridge_docker_host import (
    has_daemon,
    members,
    packages,
    rootless,
    runs,
    stored,
    units,
)
from ansible.module_utils.landbridge_docker_needs import belongs_elsewhere, layer, loses, needs_of
from ansible.module_utils.landbridge_docker_quadlet import name_of, quadlet
from ansible.module_utils.landbridge_docker_settings import Settings, SettingsError
from ansible.module_utils.landbridge_docker_things import (
    compose_entries,
    image_entry,
    network_entry,
    plugin_entry,
    swarm_entry,
    volume_entry,
)
from ansible.module_utils.landbridge_docker_translate import data_root, socket_of, translate

ROOT = Path("/")
PIDFILE = "/var/run/docker.pid"
NO_SOCKET = (
    "the daemon has no unix socket, and over TCP nothing is asked: add "
    '"unix:///run/docker.sock" to hosts and restart Docker'
)
STOPPED = "only a running daemon tells what these are: start Docker and look again"
GONE = (
    "Docker's packages have gone, its data has not: volumes that Podman has taken over are still "
    "there (`podman volume inspect`); the rest is for you to judge"
)
LISTS = ("containers", "images", "volumes", "networks", "compose", "plugins")


def survey(module):
    """The whole answer."""
    settings = Settings()
    installed = packages(module.run_command) if shutil.which("rpm") else []
    running = runs(settings.get("pidfile", PIDFILE))
    answer = {
        "packages": installed,
        "daemon": "stopped" if installed or has_daemon() else "absent",
        "version": None,
        "data_root": data_root(settings),
        "group": members(settings.get("group", "docker")),
        "rootless": rootless(),
        "units": units(),
        "settings": translate(settings),
        **{kind: [] for kind in LISTS},
        "swarm": {},
        "unknown": {},
    }
    path = socket_of(settings)
    if running and not path:
        answer["daemon"] = "running"
        answer["unknown"] = unseen(answer["data_root"], NO_SOCKET)
    elif running and Docker(path).is_docker():
        answer["daemon"] = "running"
        answer.update(ask(Docker(path)))
    else:
        why = STOPPED if answer["daemon"] == "stopped" else GONE
        answer["unknown"] = unseen(answer["data_root"], why)
    return answer


def unseen(root, why):
    """What lies in the data directory; empty where there is nothing."""
    counts = stored(ROOT / root.lstrip("/"))
    return {"path": root, **counts, "needs": [why]} if any(counts.values()) else {}


def ask(docker):
    """What only the daemon knows."""
    info = docker.get("info")
    root = info.get("DockerRootDir", "")
    images = {one["Id"]: one for one in docker.get("images", "json", all="0")}
    containers = inspected(docker)
    details = {one["Id"]: one for one in docker.each("images", images)}
    users = used(containers)
    networks = by_name(docker.get("networks"))
    volumes = by_name(docker.get("volumes").get("Volumes") or [])
    return {
        "version": info.get("ServerVersion"),
        "data_root": root,
        "containers": [container_entry(docker, one, details, root) for one in containers],
        "images": sorted(
            (image_entry(one, users.get(number, [])) for number, one in images.items()),
            key=lambda entry: (entry["names"], entry["id"]),
        ),
        "volumes": [volume_entry(one, users.get(one["Name"], [])) for one in volumes],
        "networks": [entry for entry in map(network_entry, networks) if entry],
        "compose": compose_entries(containers),
        "plugins": [plugin_entry(one) for one in docker.get("plugins") or []],
        "swarm": swarm_entry(info, docker.get),
    }


def inspected(docker):
    """Docker's details of all containers, by name, with the names of those they share with."""
    listed = docker.get("containers", "json", all="1")
    found = sorted(docker.each("containers", [one["Id"] for one in listed]), key=name_of)
    known = {key: one for one in found for key in (one["Id"], name_of(one))}
    for one in found:
        mode = one["HostConfig"].get("NetworkMode", "")
        if mode.startswith("container:"):
            peer = mode.partition(":")[2]
            one["Peer"] = name_of(known[peer]) if peer in known else peer
        entries = one["HostConfig"].get("VolumesFrom") or []
        lenders = [known[entry.split(":")[0]] for entry in entries if entry.split(":")[0] in known]
        one["Borrowed"] = [mount["Destination"] for each in lenders for mount in each["Mounts"]]
    return found


def by_name(things):
    """What the API lists in no order."""
    return sorted(things, key=lambda thing: thing["Name"])


def used(containers):
    """Names of the containers that use an image (by id) or a volume (by name)."""
    found = {}
    for one in containers:
        things = {one["Image"], *(m["Name"] for m in one["Mounts"] if m.get("Name"))}
        for thing in things:
            found.setdefault(thing, []).append(name_of(one))
    return found


def container_entry(docker, container, images, root):
    """A container of the answer."""
    elsewhere = belongs_elsewhere(container)
    image = images.get(container["Image"])
    return {
        "name": name_of(container),
        "id": container["Id"],
        "image": container["Config"]["Image"],
        "state": container["State"].get("Status", ""),
        "loses": loses(container),
        "needs": elsewhere or needs_of(container, image, root) + changed(docker, container),
        "quadlet": {} if elsewhere else quadlet(container, image),
    }


def changed(docker, container):
    """What is to be said of the container's own layer."""
    try:
        return layer(docker.get("containers", container["Id"], "changes") or [], container)
    except ApiError:
        return layer(None, container)


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    try:
        answer = survey(module)
    except SettingsError as error:
        module.fail_json(msg=str(error))
    except ApiError as error:
        module.fail_json(
            msg=f"Docker runs and does not answer: {error}; see `journalctl -u docker`"
        )
    module.exit_json(changed=False, survey=answer)


if __name__ == "__main__":
    main()
