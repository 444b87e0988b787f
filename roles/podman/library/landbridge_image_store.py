#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""One read-only image store that all users share."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_image_store
short_description: Keep images of an OCI layout in one store that users share
description:
  - The store holds the images and nothing else, in a form that any user may read. Owner and mode
    of each file are in an extended attribute, from which fuse-overlayfs shows them in the user's
    namespace (C(force_mask) of containers-storage.conf(5)); on the disk all are root's, and
    readable.
  - An image on which a user's containers or images are built stays until they are gone. An image
    that lost its name to a newer one stays until the store changes the next time.
options:
  path:
    description: Directory of the store; empty for none.
    type: str
    required: true
  layout:
    description: Directory of the OCI layout; required for O(state=present).
    type: path
  images:
    description: Images that must be there; required for O(state=present).
    type: list
    elements: dict
    suboptions:
      name:
        description: Full name, the layout's annotation org.opencontainers.image.ref.name.
        type: str
        required: true
      digest:
        description: Digest of the image's manifest.
        type: str
        required: true
  users:
    description: Users whose containers and images may be built on the store.
    type: list
    elements: str
    required: true
  state:
    description:
      - C(present) brings the store to O(images).
      - C(only) removes the stores that this module has filled in other directories, once nothing is
        built on them.
    type: str
    choices: [present, only]
    default: present
requirements:
  - podman >= 5.2
  - skopeo
  - fuse-overlayfs
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Names what would come and go, even where Podman is not installed yet.
    support: full
  diff_mode:
    description: Shows the images and stores that come or go.
    support: full
"""

EXAMPLES = r"""
- name: Share an image
  landbridge_image_store:
    path: /var/lib/shared
    layout: /var/lib/landbridge/depot/current/images
    images:
      - name: localhost/tools/busybox:1
        digest: sha256:0f1e...
    users: [alice, bob]
"""

RETURN = r"""
copied:
  description: Names of the images that were, or in check mode would be, copied.
  returned: always
  type: list
  elements: str
  sample: [localhost/tools/busybox:1]
removed:
  description: Images, and other stores, that were, or in check mode would be, removed.
  returned: always
  type: list
  elements: str
  sample: []
kept:
  description: Images, and other stores, that would go if nothing were built on them.
  returned: always
  type: list
  elements: str
  sample: []
"""

import os
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import (
    IMAGES,
    CommandError,
    account_of,
    can_ask,
    entries,
    layers_needed,
    layers_of,
    read_record,
    run,
    write_record,
)

OPTIONS = "overlay.mount_program=/usr/bin/fuse-overlayfs,overlay.force_mask=shared"
# containers/storage's locks and the like; a store of its own must not share root's.
RUNROOT = "/run/landbridge/images"
STAT = "user.containers.override_stat"
# What containers/storage and this module make in a store; all else in its directory is not ours.
PART = re.compile(r"overlay(-\w+)?|\w+\.lock|attributed\.json|mounts|tmp")


class Store:
    """The shared store: what is there, what has to come and what has to go."""

    def __init__(self, path, wanted):
        self.path = Path(path)
        self.attributed = self.path / "attributed.json"
        self.wanted = wanted
        self.images = entries(self.path / "overlay-images" / "images.json")
        self.layers = layers_of(self.path)
        self.present = {n: i["digest"] for i in self.images for n in i.get("names") or []}

    def chain(self, image):
        """The image's layers, from the top; a layer that is not known ends it."""
        layer = image.get("layer")
        while layer:
            yield layer
            layer = self.layers.get(layer)

    def is_whole(self, image):
        """Whether all layers are on the disk; a crash may have lost some."""
        folders = [self.path / "overlay" / layer / "diff" for layer in self.chain(image)]
        return all(folder.is_dir() for folder in folders)

    def plan(self, needed):
        """Images to remove, images that go later, and names to copy."""
        unwanted = [i for i in self.images if not self.is_wanted(i)]
        kept = [i for i in unwanted if needed & set(self.chain(i)) and self.is_whole(i)]
        removed = [i for i in unwanted if i not in kept]
        left = {n: i["digest"] for i in self.images if i not in removed for n in names_of(i)}
        copies = [name for name, digest in self.wanted.items() if left.get(name) != digest]
        if not copies and all(not names_of(image) for image in removed):
            return [], kept, copies  # what lost its name last stays for a rollback
        return removed, kept, copies

    def is_wanted(self, image):
        """Whether an image is right as it is, or only loses its name to a newer one."""
        if not names_of(image):
            return False
        return set(names_of(image)) <= set(self.wanted) and self.is_whole(image)

    def reference(self, what):
        """How skopeo names an image of this store."""
        return f"containers-storage:[overlay@{self.path}+{RUNROOT}:{OPTIONS}]{what}"

    def skopeo(self, *argv):
        """Run skopeo, and let users read what it writes meanwhile."""
        run(["skopeo", *argv], account_of("root"), meanwhile=self.open)

    def change(self, layout, removed, copies):
        """Remove, then copy."""
        for image in removed:
            self.skopeo("delete", self.reference(f"@{image['id']}"))
        for name in copies:
            copy = ["copy", "--quiet", "--preserve-digests"]
            self.skopeo(*copy, f"oci:{layout}:{name}", self.reference(name))
        self.attribute()
        self.open()
        present = Store(self.path, self.wanted).present
        wrong = [n for n in copies if present.get(n) != self.wanted[n]]
        if wrong:
            raise CommandError(f"{', '.join(wrong)}: another digest than the bundle promises")

    def closed(self):
        """Lists and locks that users cannot read, with the mode that lets them.

        containers/storage makes them for root alone; the files of images are readable already.
        """
        for folder, below, files in os.walk(self.path):
            below[:] = [name for name in below if name != "diff"]
            if folder == str(self.path):
                below[:], files[:] = filter(PART.fullmatch, below), filter(PART.fullmatch, files)
            for path, bits in [(folder, 0o055), *((f"{folder}/{name}", 0o044) for name in files)]:
                try:
                    status = os.lstat(path)
                except FileNotFoundError:  # skopeo is at work
                    continue
                mode = stat.S_IMODE(status.st_mode)
                if not stat.S_ISLNK(status.st_mode) and mode != (mode | bits) & ~0o022:
                    yield Path(path), (mode | bits) & ~0o022

    def open(self):
        """Let users read the lists."""
        for path, mode in list(self.closed()):
            # skopeo, at work meanwhile, renames its temporary files away.
            with suppress(FileNotFoundError):
                path.chmod(mode)

    def unattributed(self):
        """Layers in which directories may lack the attribute: a crash came before it was set."""
        return [layer for layer in layers_of(self.path) if layer not in entries(self.attributed)]

    def attribute(self):
        """Say whose the directories are that layers have only as parents; they get no attribute."""
        for layer in self.unattributed():
            for folder, _below, _files in os.walk(self.path / "overlay" / layer / "diff"):
                if STAT not in os.listxattr(folder):
                    os.setxattr(folder, STAT, b"0:0:0755")
        layers = sorted(layers_of(self.path))
        if layers != entries(self.attributed):
            write_record(self.attributed, layers)


def names_of(image):
    """The names of an image in the list of a store."""
    return image.get("names") or []


def label(image):
    """What an image is called in messages."""
    return ", ".join(names_of(image)) or f"nameless {image['id'][:12]}"


def needed_by(users):
    """Layers of other stores on which users' containers and images are built."""
    accounts = [account_of(user) for user in users]
    return set().union(*(layers_needed(a) for a in accounts if can_ask(a)))


def delete(store):
    """Remove a store, and nothing else; containers/storage leaves a part mounted on itself."""
    if not store.is_dir():
        return
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    overlay = str(store / "overlay")
    if overlay in [line.split()[4] for line in mounts]:
        run(["umount", overlay], account_of("root"))
    for path in [path for path in store.iterdir() if PART.fullmatch(path.name)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not store.is_mount() and not any(store.iterdir()):
        store.rmdir()


def others(module, record, answer):
    """Remove the shared stores of earlier runs that nobody asks for any more."""
    stores = [store for store in record if store != module.params["path"]]
    needed = needed_by(module.params["users"]) if stores else set()
    for store in stores:
        if needed & set(layers_of(store)):
            answer["kept"].append(store)
            continue
        answer["removed"].append(store)
        answer["before"].append(store)
        if not module.check_mode:
            delete(Path(store))
            record.remove(store)


def fill(module, answer):
    """Bring the store to what is wanted."""
    params = module.params
    store = Store(params["path"], {i["name"]: i["digest"] for i in params["images"]})
    needed = needed_by(params["users"]) if store.images else set()
    removed, kept, copies = store.plan(needed)
    if store.images and (store.unattributed() or any(store.closed())):
        answer["before"].append(f"{store.path} is not readable for all")
    answer["copied"] += copies
    answer["removed"] += [label(image) for image in removed]
    answer["kept"] += [label(image) for image in kept if names_of(image)]
    answer["before"] += [f"{label(image)} {image['digest']}" for image in removed]
    answer["before"] += [f"{n} {store.present[n]}" for n in copies if n in store.present]
    answer["after"] += [f"{name} {store.wanted[name]}" for name in copies]
    if not module.check_mode:
        store.change(params["layout"], removed, copies)


def ensure(module):
    """Do what is asked; returns the answer."""
    answer = {"copied": [], "removed": [], "kept": [], "before": [], "after": []}
    path, check = module.params["path"], module.check_mode
    record = read_record(IMAGES)
    shared = record.setdefault("shared", [])
    if module.params["state"] == "only":
        others(module, shared, answer)
        if answer["removed"] and not check:
            write_record(IMAGES, record)
        return answer
    if path not in shared and not check:
        shared.append(path)
        write_record(IMAGES, record)
    fill(module, answer)
    return answer


def main():
    """Run as an Ansible module."""
    image = {
        "name": {"type": "str", "required": True},
        "digest": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "layout": {"type": "path"},
            "images": {"type": "list", "elements": "dict", "options": image},
            "users": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "only"], "default": "present"},
        },
        required_if=[("state", "present", ["layout", "images"])],
        supports_check_mode=True,
    )
    try:
        answer = ensure(module)
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"shared image store {module.params['path']}: {error}")
    for kept in answer["kept"]:
        module.warn(
            f"{kept} of the shared image store stays, because a user's containers or images are"
            " built on it; it goes when the role runs after they are removed"
        )
    diff = {key: "".join(f"{line}\n" for line in answer.pop(key)) for key in ("before", "after")}
    module.exit_json(changed=diff["before"] != diff["after"], diff=diff, **answer)


if __name__ == "__main__":
    main()
