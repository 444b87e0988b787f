#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Images from an OCI layout in users' container storage."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_oci_image
short_description: Keep images of an OCI layout in users' container storage
description:
  - Each image keeps its name and the digest of its manifest. One that is there is left alone, one
    whose layers are not whole is copied again, one of the same name with another digest gives its
    name to the new one and stays, for a rollback, until something prunes it.
  - An image that this module has brought and nobody wants any more is removed, unless a container
    uses it; a user's own images are never touched. A user who is not named keeps everything.
  - What it has brought is written to /var/lib/landbridge/podman/images.json.
options:
  layout:
    description: Directory of the OCI layout.
    type: path
    required: true
  images:
    description: Images that must be there.
    type: list
    elements: dict
    required: true
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
    description: Whose stores; another user than root needs a running service manager.
    type: list
    elements: str
    required: true
  without:
    description: Those of O(users) who have no images of the layout, and lose those they got here.
    type: list
    elements: str
    default: []
requirements:
  - podman
  - skopeo >= 1.6
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Names the images that would be copied, even where Podman is not installed yet.
    support: full
  diff_mode:
    description: Shows the images that come or go, for each user.
    support: full
"""

EXAMPLES = r"""
- name: Copy an image for root and alice
  landbridge_oci_image:
    layout: /var/lib/landbridge/depot/current/images
    images:
      - name: localhost/tools/busybox:1
        digest: sha256:0f1e...
    users: [root, alice]
"""

RETURN = r"""
copied:
  description: Names of the images that were, or in check mode would be, copied, by user.
  returned: always
  type: dict
  sample: {"alice": ["localhost/tools/busybox:1"]}
removed:
  description: Names of the images that were, or in check mode would be, removed, by user.
  returned: always
  type: dict
  sample: {}
kept:
  description: Images that would go if no container used them, by user.
  returned: always
  type: dict
  sample: {"alice": ["localhost/tools/busybox:0"]}
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import (
    IMAGES,
    CommandError,
    account_of,
    can_ask,
    read_record,
    run,
    write_record,
)

# podman-rmi(1): a container uses the image.
IN_USE = 2
# Copies at a time; unpacking takes a processor each.
WORKERS = min(4, os.cpu_count() or 1)


def ask(argv, account):
    """What Podman says as JSON."""
    return json.loads(run(["podman", *argv, "--format", "json"], account) or "[]") or []


def is_whole(image):
    """Whether the layers of an inspected image are on the disk; a crash may have lost some."""
    data = image["GraphDriver"]["Data"] or {}
    folders = [f for key in ("LowerDir", "UpperDir") for f in data.get(key, "").split(":") if f]
    return all(Path(folder).is_dir() for folder in folders)


def digests(images, asked):
    """The digest of each listed image: the one asked for by name, if the image has it.

    An image has several when it came several times with its layers packed otherwise, from Docker
    and then from the bundle; Podman calls it by the first.
    """
    found = {}
    for name, image in images.items():
        known = {pinned.rpartition("@")[2] for pinned in image.get("RepoDigests") or []}
        found[name] = asked[name] if asked.get(name) in known else image["Digest"]
    return found


class Store:
    """A user's images: what is there, what has to come and what has to go."""

    def __init__(self, account, wanted, ours):
        """`wanted` and `ours`, of an earlier run, are digests by name."""
        self.account = account
        self.wanted = wanted
        self.ours = ours
        self.present = {}
        self.copies, self.removals, self.kept, self.broken = list(wanted), [], [], []

    def listed(self):
        """Images by name; those of read-only stores are not the user's."""
        own = [image for image in ask(["image", "ls"], self.account) if not image.get("ReadOnly")]
        return {name: image for image in own for name in image.get("Names") or []}

    def look(self):
        """Compare with what is there."""
        images = self.listed()
        self.present = digests(images, {**self.ours, **self.wanted})
        right = [n for n, digest in self.wanted.items() if self.present.get(n) == digest]
        ids = {name: images[name]["Id"] for name in right}
        found = ask(["image", "inspect", *set(ids.values())], self.account) if ids else []
        damaged = {image["Id"] for image in found if not is_whole(image)}
        self.broken = [name for name in right if ids[name] in damaged]
        self.copies = [n for n in self.wanted if n not in right or n in self.broken]
        dropped = [n for n in self.ours if n not in self.wanted]
        dropped = [n for n in dropped if self.present.get(n) == self.ours[n]]
        used = self.used() if dropped else set()
        self.kept = [name for name in dropped if images[name]["Id"] in used]
        self.removals = [name for name in dropped if name not in self.kept]

    def used(self):
        """Ids of the images of containers, Buildah's among them."""
        containers = ask(["container", "ls", "--all", "--external"], self.account)
        return {container["ImageID"] for container in containers}

    def planned(self):
        """What is ours while copies may be half done."""
        return {**self.ours, **{name: self.wanted[name] for name in self.copies}}

    def copy(self, layout, name):
        """Copy one image; skopeo fails rather than change the digest."""
        if name in self.broken:  # its layers would be taken for whole
            run(["podman", "image", "rm", name], self.account)
        argv = ["skopeo", "copy", "--quiet", "--preserve-digests"]
        run([*argv, f"oci:{layout}:{name}", f"containers-storage:{name}"], self.account)

    def remove(self, name):
        """Take the name away, and the image with the last one, unless a container has come."""
        try:
            run(["podman", "image", "rm", name], self.account)
        except CommandError as error:
            if error.code != IN_USE:
                raise
            self.removals.remove(name)
            self.kept.append(name)

    def change(self, layout):
        """Copy and remove; afterwards `ours` is what this module has brought."""
        for name in self.copies:
            self.copy(layout, name)
        for name in list(self.removals):
            self.remove(name)
        if self.copies:
            there = digests(self.listed(), self.wanted)
            wrong = [name for name in self.copies if there.get(name) != self.wanted[name]]
            if wrong:
                names = ", ".join(wrong)
                raise CommandError(f"{names}: another digest than the bundle promises")
        self.ours = {n: d for n, d in self.planned().items() if n in self.wanted or n in self.kept}

    def difference(self):
        """The images that come or go, before and after."""
        user = self.account.pw_name
        names = sorted({*self.copies, *self.removals})
        before = [f"{user} {n} {self.present[n]}\n" for n in names if n in self.present]
        after = [f"{user} {n} {self.wanted[n]}\n" for n in names if n in self.wanted]
        return "".join(before), "".join(after)


def stores_of(params, record):
    """A store for each user."""
    wanted = {image["name"]: image["digest"] for image in params["images"]}
    return [
        Store(account_of(u), {} if u in params["without"] else wanted, record.get(u, {}))
        for u in params["users"]
    ]


def each(action, stores):
    """Do it for several users at a time; the first error names its user."""

    def one(store):
        try:
            action(store)
        except CommandError as error:
            raise CommandError(f"images for {store.account.pw_name}: {error}") from None

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(one, stores))


def ensure(params, check_mode):
    """Look at all stores, then change them; returns the stores."""
    record = read_record(IMAGES)
    ours = record.setdefault("users", {})
    stores = stores_of(params, ours)
    each(Store.look, [s for s in stores if not check_mode or can_ask(s.account)])
    if not check_mode:
        before = json.dumps(record)
        # First what may be there if this is interrupted, so that it is known as ours.
        ours.update({s.account.pw_name: s.planned() for s in stores})
        if json.dumps(record) != before:
            write_record(IMAGES, record)
        each(lambda store: store.change(params["layout"]), stores)
        planned = json.dumps(record)
        ours.update({s.account.pw_name: s.ours for s in stores})
        if json.dumps(record) != planned:
            write_record(IMAGES, record)
    return stores


def by_user(stores, attribute):
    """A list of each store that has one, by the user's name."""
    found = {s.account.pw_name: getattr(s, attribute) for s in stores}
    return {user: names for user, names in found.items() if names}


def main():
    """Run as an Ansible module."""
    image = {
        "name": {"type": "str", "required": True},
        "digest": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "layout": {"type": "path", "required": True},
            "images": {"type": "list", "elements": "dict", "required": True, "options": image},
            "users": {"type": "list", "elements": "str", "required": True},
            "without": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        stores = ensure(module.params, module.check_mode)
    except (CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    for name, kept in by_user(stores, "kept").items():
        module.warn(
            f"{name} keeps {', '.join(kept)}, which the bundle has no more, because containers use"
            " it; it goes when the role runs after they are removed"
        )
    copied, removed = by_user(stores, "copies"), by_user(stores, "removals")
    differences = [store.difference() for store in stores]
    module.exit_json(
        changed=bool(copied or removed),
        copied=copied,
        removed=removed,
        kept=by_user(stores, "kept"),
        diff={
            "before": "".join(before for before, _after in differences),
            "after": "".join(after for _before, after in differences),
        },
    )


if __name__ == "__main__":
    main()
