#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""What Docker holds, taken over into root's Podman; then Docker's containers end."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_docker_migrate
short_description: Take images, volumes and networks over from Docker into root's Podman
description:
  - Each image with a name, and each that a container is made from, gets into Podman's store with
    the same id and names; one that is there is left alone, so that an interrupted run goes on.
  - A volume of Docker's driver local becomes a volume of Podman with the same name on the same
    directory; no data is copied, and none deleted.
  - A bridge network becomes one with the same name, addresses and gateway.
  - What Podman has under a name already stays as it is.
  - Then every container that runs is stopped, as C(docker stop) does, and a record says that
    nothing is left to take over. It stays until the role has removed Docker's packages.
options:
  running:
    description: Whether Docker's daemon runs; without it nothing can be taken over.
    type: bool
    required: true
  take_over:
    description: Whether to take over anything before the containers are stopped.
    type: bool
    default: true
requirements:
  - podman
  - skopeo >= 1.6
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Names what would be taken over and stopped, even where Podman is not installed yet.
    support: full
  diff_mode:
    description: Shows names of what is taken over and stopped.
    support: full
"""

EXAMPLES = r"""
- name: Take over from Docker
  landbridge_docker_migrate:
    running: true
"""

RETURN = r"""
bridges:
  description: Bridges that Docker leaves behind under names of a user's choice.
  returned: always
  type: list
  elements: str
  sample: []
images:
  description: Names of the images that were, or in check mode would be, copied or tagged.
  returned: always
  type: list
  elements: str
  sample: ["docker.io/library/nginx:1"]
volumes:
  description: Names of the volumes that were made.
  returned: always
  type: list
  elements: str
  sample: [data]
networks:
  description: Names of the networks that were made.
  returned: always
  type: list
  elements: str
  sample: [app]
containers:
  description: Names of the containers that were stopped.
  returned: always
  type: list
  elements: str
  sample: [web]
left:
  description: What could not be taken over, a sentence each.
  returned: always
  type: list
  elements: str
  sample: ["network mesh: Podman has no driver overlay"]
"""

import json
import os
import pwd
import shutil
import tarfile
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_docker_api import ApiError
from ansible.module_utils.landbridge_docker_engine import Engine
from ansible.module_utils.landbridge_docker_settings import Settings, SettingsError
from ansible.module_utils.landbridge_docker_translate import socket_of
from ansible.module_utils.landbridge_podman import (
    STATE,
    CommandError,
    can_ask,
    read_record,
    run,
    write_record,
)

# There when nothing is left to take over; names the bridges that Docker leaves, by unusual names.
RECORD = STATE / "docker.json"
# Podman's id by Docker's: they differ where containerd keeps Docker's images.
COPIED = STATE / "docker-images.json"
SCRATCH = "landbridge-docker-"

# Docker makes these itself.
OWN_NETWORKS = ("bridge", "host", "none", "docker_gwbridge", "ingress")
BRIDGE_NAME = "com.docker.network.bridge.name"
MTU = "com.docker.network.driver.mtu"


class Podman:
    """Root's Podman: what is in it by name, and how to add to it."""

    def __init__(self, account):
        self.account = account

    def say(self, *words, **options):
        return run(["podman", *words], self.account, **options)

    def images(self):
        """Names by id."""
        rows = json.loads(self.say("image", "ls", "--all", "--format", "json"))
        return {row["Id"]: set(row.get("Names") or []) for row in rows}

    def volumes(self):
        """Options by name."""
        rows = json.loads(self.say("volume", "ls", "--format", "json") or "[]")
        return {row["Name"]: row.get("Options") or {} for row in rows}

    def networks(self):
        """Subnets by name."""
        rows = json.loads(self.say("network", "ls", "--format", "json") or "[]")
        return {
            row["name"]: [subnet["subnet"] for subnet in row.get("subnets") or []] for row in rows
        }

    def network_backend(self):
        return self.say("info", "--format", "{{.Host.NetworkBackend}}").strip()

    def store(self):
        """Directory of the store."""
        return Path(self.say("info", "--format", "{{.Store.GraphRoot}}").strip())


class Nothing(Podman):
    """Podman before it is installed, which has nothing."""

    def say(self, *_words, **_options):
        return "[]"


def full_name(name):
    """An image's name with the registry that Docker adds in silence."""
    first, slash, _rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return name
    return f"docker.io/{name}" if slash else f"docker.io/library/{name}"


def images_of(docker):
    """(images to take over, sentences about those that lose a name)."""
    containers = docker.get("containers", "json", all="1")
    used = {container["ImageID"] for container in containers}
    wanted, left = [], []
    for image in docker.get("images", "json"):
        names = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
        pinned = [name for name in image.get("RepoDigests") or [] if "<none>" not in name]
        if not names and pinned:
            left.append(f"image {pinned[0]}: Podman knows it by its id only, {image['Id']}")
        if names or pinned or image["Id"] in used:
            wanted.append({"id": image["Id"], "names": sorted(map(full_name, names))})
    return wanted, left


def config_id(archive):
    """The id that an archive's image gets in Podman's store: its configuration's digest."""
    try:
        with tarfile.open(archive) as tar:
            (image,) = json.load(tar.extractfile("manifest.json"))
    except (tarfile.TarError, KeyError, ValueError) as error:
        raise CommandError(f"Docker's archive is not whole: {error}") from error
    return Path(image["Config"]).name.removesuffix(".json")


class Images:
    """Takes over images."""

    def __init__(self, docker, podman):
        self.docker, self.podman = docker, podman
        self.wanted, self.left = images_of(docker)
        self.copied = read_record(COPIED)
        self.here = podman.images()

    def lacking(self):
        """Images that are not there, or lack a name."""
        return [
            image
            for image in self.wanted
            if not set(image["names"]) <= self.here.get(self.id_here(image), set())
            or self.id_here(image) not in self.here
        ]

    def id_here(self, image):
        """What Podman calls it, or would if it is here."""
        return self.copied.get(image["id"], image["id"].removeprefix("sha256:"))

    def take(self):
        """Copy what is lacking, one after the other, and name it."""
        lacking = self.lacking()
        if not lacking:
            return
        store = self.podman.store()
        for old in store.glob(f"{SCRATCH}*"):  # of a run that was killed
            shutil.rmtree(old)
        for image in lacking:
            if self.id_here(image) not in self.here:
                with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=store) as scratch:
                    self.copied[image["id"]] = self._copy(image, Path(scratch))
                write_record(COPIED, self.copied)
            if image["names"]:
                self.podman.say("image", "tag", self.id_here(image), *image["names"])
        self.here = self.podman.images()
        if lost := self.lacking():
            raise CommandError(f"{lost[0]['id']} is not in Podman's store though it was copied")

    def _copy(self, image, scratch):
        """Docker's archive is what skopeo's docker-daemon: would save into a file as well.

        That speaks one old version of the API only, which Docker 25 and later refuse. What Docker
        has run needs no signature now, and what policy.json says may be too strict for it.
        """
        archive = scratch / "image.tar"
        # With a name the archive of an image that containerd keeps has one image in it.
        self.docker.save((image["names"] or [image["id"]])[0], archive)
        identity = config_id(archive)
        source, target = f"docker-archive:{archive}", f"containers-storage:@{identity}"
        run(
            ["skopeo", "--insecure-policy", "copy", "--quiet", source, target],
            self.podman.account,
            variables={"TMPDIR": str(scratch)},  # /var/tmp may be small
        )
        return identity


def volume_options(volume):
    """(options for Podman's driver local, why there are none)."""
    if volume["Driver"] != "local":
        return None, f"Podman has no driver {volume['Driver']}"
    given = dict(volume.get("Options") or {})
    if not given:
        return in_place(Path(volume["Mountpoint"]))
    kind, device, mount = given.pop("type", ""), given.pop("device", ""), given.pop("o", "")
    if given:
        return None, f"Podman's driver local has no option {', '.join(sorted(given))}"
    words = mount.split(",")
    server = [word.removeprefix("addr=") for word in words if word.startswith("addr=")]
    if server and device.startswith(":"):  # mount.nfs wants the server before the path
        device = server[0] + device
    pairs = {"type": kind, "device": device, "o": mount}
    return [f"{key}={value}" for key, value in pairs.items() if value], ""


def is_remapped(docker):
    """Whether what is root in a container is another user on the disk."""
    return any(option.startswith("name=userns") for option in docker.get("info")["SecurityOptions"])


def in_place(data):
    """Docker's directory, mounted; its owner is given so that Podman does not change it."""
    if not data.is_dir():
        return None, f"{data} is gone"
    owner = data.stat()
    mount = f"o=bind,uid={owner.st_uid},gid={owner.st_gid}"
    return ["type=none", f"device={data}", mount], ""


class Volumes:
    """Takes over volumes."""

    def __init__(self, docker, podman):
        self.podman, self.make, self.left = podman, {}, []
        here, remapped = podman.volumes(), is_remapped(docker)
        for volume in docker.get("volumes").get("Volumes") or []:
            name = volume["Name"]
            options, why = volume_options(volume)
            if remapped:
                self.left.append(f"volume {name}: its files belong to the ids of userns-remap")
            elif options is None:
                self.left.append(f"volume {name}: {why}")
            elif name not in here:
                self.make[name] = [*labels(volume), *words("--opt", options), name]
            elif f"device={here[name].get('device')}" not in options:
                self.left.append(f"volume {name}: Podman has one of this name already")

    def take(self):
        for name in sorted(self.make):
            self.podman.say("volume", "create", *self.make[name])


def words(option, values):
    """Each value behind its option."""
    return [word for value in values for word in (option, value)]


def labels(thing):
    """Options for a thing's labels, by which compose knows its own."""
    pairs = sorted((thing.get("Labels") or {}).items())
    return words("--label", [f"{key}={value}" for key, value in pairs])


def network_options(network, backend):
    """(options of `podman network create`, why there are none)."""
    if network["Driver"] != "bridge":
        return None, f"driver {network['Driver']} is not taken over"
    ipam = network["IPAM"]
    if ipam.get("Driver") not in (None, "", "default"):
        return None, f"addresses come from {ipam['Driver']}, which Podman has not"
    options = labels(network)
    for pool in ipam.get("Config") or []:
        keys = {"--subnet": "Subnet", "--gateway": "Gateway", "--ip-range": "IPRange"}
        options += [w for o, key in keys.items() if pool.get(key) for w in (o, pool[key])]
    options += ["--ipv6"] if network.get("EnableIPv6") else []
    options += ["--internal"] if network.get("Internal") else []
    given = network.get("Options") or {}
    options += ["--opt", f"mtu={given[MTU]}"] if given.get(MTU) else []
    # As Docker's: no way from one network into another.
    options += ["--opt", "isolate=true"] if backend == "netavark" else []
    return options, ""


class Networks:
    """Takes over networks."""

    def __init__(self, docker, podman):
        self.podman, self.make, self.left = podman, {}, []
        here, backend = podman.networks(), podman.network_backend()
        for network in users_networks(docker):
            options, why = network_options(network, backend)
            if options is None:
                self.left.append(f"network {network['Name']}: {why}")
            elif network["Name"] not in here:
                self.make[network["Name"]] = [*options, network["Name"]]
            elif not set(subnets(network)) <= set(here[network["Name"]]):
                self.left.append(f"network {network['Name']}: Podman has one of this name already")

    def take(self):
        for name in sorted(self.make):
            # Podman refuses addresses of an interface that is up, and Docker's bridge still is:
            # it is asked where there is none. Making a network touches no interface.
            run(
                ["unshare", "--net", "podman", "network", "create", *self.make[name]],
                self.podman.account,
            )


def users_networks(docker):
    """Docker's networks but those that it makes itself."""
    return [one for one in docker.get("networks") if one["Name"] not in OWN_NETWORKS]


def custom_bridges(docker):
    """Bridges with names that users have given."""
    options = [network.get("Options") or {} for network in users_networks(docker)]
    return sorted(filter(None, (one.get(BRIDGE_NAME) for one in options)))


def subnets(network):
    """A Docker network's subnets."""
    return [pool["Subnet"] for pool in network["IPAM"].get("Config") or [] if pool.get("Subnet")]


def take_over(docker, podman, check):
    """Copy and make what is lacking; returns names by kind and what is left."""
    images, networks = Images(docker, podman), Networks(docker, podman)
    volumes = Volumes(docker, podman)
    result = {
        "images": [n for image in images.lacking() for n in image["names"] or [image["id"]]],
        "volumes": sorted(volumes.make),
        "networks": sorted(networks.make),
        "left": images.left + volumes.left + networks.left,
    }
    for part in () if check else (images, volumes, networks):
        part.take()
    return result


def stop(docker, check):
    """Stop what runs, the newest first, which may need an older one; returns names."""
    running = docker.get("containers", "json")
    for container in () if check else running:
        docker.stop(container)
    return [container["Names"][0].lstrip("/") for container in running]


def migrate(module, podman):
    """Take over and stop; returns the module's result."""
    result = {key: [] for key in ("bridges", "images", "volumes", "networks", "containers", "left")}
    check = module.check_mode
    if not module.params["running"]:
        record = read_record(RECORD)
        if not record and not check:
            write_record(RECORD, {"bridges": []})
        return {**result, "changed": not record, "bridges": record.get("bridges", [])}
    if not check:  # of a run that was interrupted, after which Docker was started once more
        RECORD.unlink(missing_ok=True)
    docker = Engine(socket_of(Settings()))
    if module.params["take_over"]:
        result.update(take_over(docker, podman, check))
    result["bridges"] = custom_bridges(docker)
    result["containers"] = stop(docker, check)
    if not check:
        write_record(RECORD, {"bridges": result["bridges"]})
    return {**result, "changed": True}


def difference(result):
    """What is new, and what ends, for --diff."""
    new = [
        f"{kind}: {name}\n" for kind in ("images", "volumes", "networks") for name in result[kind]
    ]
    ends = [f"running: {name}\n" for name in result["containers"]]
    return {"before": "".join(ends), "after": "".join(new)}


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "running": {"type": "bool", "required": True},
            "take_over": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    account = pwd.getpwuid(os.geteuid())
    nothing = module.check_mode and not can_ask(account)
    podman = Nothing(account) if nothing else Podman(account)
    try:
        result = migrate(module, podman)
    except (ApiError, CommandError, SettingsError, OSError) as error:
        module.fail_json(msg=f"taking over from Docker: {error}; nothing of Docker's is removed")
    module.exit_json(**result, diff=difference(result))


if __name__ == "__main__":
    main()
