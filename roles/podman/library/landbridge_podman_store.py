#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Whether Podman's storage may become what the variables say."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_podman_store
short_description: Refuse a storage configuration under which what is stored would be lost to view
description:
  - Podman finds no image, container or volume of a store that storage.conf no longer names. This
    module reads which store root has and fails where another is wanted while something is in it.
  - Fails where somebody's files are in a directory that is to become a store, for what is in the
    shared one all may read, and nobody may list what is in root's.
  - Fails where stores are not apart, where a store made by others is none, and for a shared image
    store where the installed Podman would show its files wrongly.
  - Reads files, also where Podman is not installed, and changes nothing.
options:
  driver:
    description: Storage driver that is wanted.
    type: str
    required: true
  graphroot:
    description: Directory of root's store that is wanted.
    type: path
    required: true
  shared:
    description: Directory of the shared image store that is wanted; empty for none.
    type: str
    default: ""
  additional:
    description: Directories of the other image stores that are wanted.
    type: list
    elements: path
    default: []
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Judge a store on another filesystem
  landbridge_podman_store:
    driver: overlay
    graphroot: /data/containers/storage
"""

RETURN = r"""
store:
  description: Root's store as it is, and how many images, containers and volumes are in it.
  returned: always
  type: dict
  sample:
    {"driver": "overlay", "graphroot": "/var/lib/containers/storage", "images": 1, "containers": 0,
     "volumes": 0}
"""

import os
import re
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import (
    IMAGES,
    account_of,
    entries,
    read_record,
    run,
)

# The first that exists counts: containers-storage.conf(5).
CONFIGURATIONS = (
    Path("/etc/containers/storage.conf"),
    Path("/usr/share/containers/storage.conf"),
)
DEFAULT = {"driver": "overlay", "graphroot": "/var/lib/containers/storage"}
# One of them is in every store of Podman's.
STORED = {"storage.lock", "libpod", "overlay", "vfs"}
# From here on Podman keeps setuid bits and fuse-overlayfs owners of what is in a shared store.
SHARING = (5, 2)


def configured(files):
    """Driver and graphroot of root's present store."""
    found = dict(DEFAULT)
    file = next((f for f in files if f.exists()), None)
    text = file.read_text(encoding="utf-8") if file else ""
    table = re.search(r"^\[storage\](.*?)(^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    keys = r"""^\s*(driver|graphroot)\s*=\s*["']([^"']+)["']"""
    for key, value in re.findall(keys, table.group(1) if table else "", re.MULTILINE):
        found[key] = os.path.normpath(os.path.expandvars(value))
    return found


def contents(store):
    """The store with the number of what is in it."""
    root, driver = Path(store["graphroot"]), store["driver"]
    volumes = root / "volumes"
    return {
        **store,
        "images": len(entries(root / f"{driver}-images" / "images.json")),
        "containers": len(entries(root / f"{driver}-containers" / "containers.json")),
        "volumes": len(list(volumes.iterdir())) if volumes.is_dir() else 0,
    }


def hidden(store, driver, graphroot):
    """Why the wanted store would hide the present one; empty where it would not."""
    kinds = ("images", "containers", "volumes")
    changed = [
        f"podman_{name} is {wanted}"
        for name, wanted, present in (
            ("graphroot", graphroot, store["graphroot"]),
            ("storage_driver", driver, store["driver"]),
        )
        if wanted != present
    ]
    if not changed or not any(store[kind] for kind in kinds):
        return ""
    held = ", ".join(f"{store[kind]} {kind}" for kind in kinds if store[kind])
    return (
        f"{' and '.join(changed)}: root's store is {store['graphroot']} ({store['driver']}), and"
        f" Podman would no longer see what is in it: {held}. End the containers and move the"
        " directory to where it is to be (another driver needs podman save and load), or clear it"
        " with podman system reset if nothing of it is needed, or set podman_graphroot to"
        f" {store['graphroot']} and podman_storage_driver to {store['driver']}."
    )


def unshareable(shared):
    """Why the installed Podman cannot share a store; empty where it can, or is not installed."""
    if not shared or shutil.which("podman") is None:
        return ""
    said = run(["podman", "--version"], account_of("root"))
    version = re.search(r"(\d+)\.(\d+)[\d.]*", said)
    if version and (int(version[1]), int(version[2])) >= SHARING:
        return ""
    return (
        f"podman_shared_image_store is {shared}: Podman {version[0] if version else said.strip()}"
        f" shows files of a shared store with wrong owners and modes; update it to"
        f" {'.'.join(map(str, SHARING))} or newer, or leave the variable empty."
    )


def listed(folder):
    """Names of what is in a directory, which may not be there."""
    there = Path(folder)
    return sorted(path.name for path in there.iterdir()) if there.is_dir() else []


def occupied(present, graphroot, shared):
    """Why a directory cannot become a store; empty where it can, or is `present`, root's store."""
    there = set(listed(graphroot)) - {"lost+found"}
    if there and not there & STORED and graphroot != present:
        return (
            f"podman_graphroot is {graphroot}, where other files are ({', '.join(sorted(there))}):"
            " name a directory of its own, for example one below it."
        )
    if shared and listed(shared) and shared not in read_record(IMAGES).get("shared", []):
        return (
            f"podman_shared_image_store is {shared}, where files are that this role has not made"
            f" ({', '.join(listed(shared))}): name a directory that is empty or not there yet; a"
            " store that others fill belongs in podman_additional_image_stores."
        )
    return ""


def nested(stores):
    """Whether a store is named twice, or lies inside another."""
    for store in stores:
        others = list(stores)
        others.remove(store)
        if any(Path(store) == Path(o) or Path(store) in Path(o).parents for o in others):
            return (
                "podman_graphroot, podman_shared_image_store and podman_additional_image_stores:"
                f" {store} is named twice or has another store inside; give each store a directory"
                " of its own."
            )
    return ""


def not_stores(paths):
    """What is wrong with directories that should be stores made by others."""
    for path in paths:
        if not any(Path(path).glob("*-images/images.json")):
            return (
                f"podman_additional_image_stores names {path}, which is no store with images, so"
                " that Podman would not start; fill or mount it first, or leave it out."
            )
    return ""


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "driver": {"type": "str", "required": True},
            "graphroot": {"type": "path", "required": True},
            "shared": {"type": "str", "default": ""},
            "additional": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    store = contents(configured(CONFIGURATIONS))
    stores = [params["graphroot"], *filter(None, [params["shared"]]), *params["additional"]]
    problems = [
        nested(stores),
        hidden(store, params["driver"], os.path.normpath(params["graphroot"])),
        occupied(store["graphroot"], params["graphroot"], params["shared"]),
        unshareable(params["shared"]),
        not_stores(params["additional"]),
    ]
    if any(problems):
        module.fail_json(msg="\n".join(p for p in problems if p), store=store)
    module.exit_json(changed=False, store=store)


if __name__ == "__main__":
    main()
