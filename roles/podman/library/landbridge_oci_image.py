#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Images from an OCI layout in a user's container storage."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_oci_image
short_description: Copy images from an OCI layout into a user's container storage
description:
  - Each image keeps its name and the digest of its manifest.
  - An image that is there with the same name and digest is left alone.
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
  user:
    description: Whose storage; another user than root needs a running service manager.
    type: str
    default: root
requirements:
  - podman
  - skopeo >= 1.6
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Names the images that would be copied, even where Podman is not installed yet.
    support: full
  diff_mode:
    description: Shows the images of the list that are there.
    support: full
"""

EXAMPLES = r"""
- name: Copy an image for alice
  landbridge_oci_image:
    layout: /var/lib/landbridge/depot/current/images
    images:
      - name: localhost/tools/busybox:1
        digest: sha256:0f1e...
    user: alice
"""

RETURN = r"""
copied:
  description: Names of the images that were, or in check mode would be, copied.
  returned: always
  type: list
  elements: str
  sample: [localhost/tools/busybox:1]
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import CommandError, account_of, can_ask, run


def stored(account):
    """Digest by name of the images in the user's storage."""
    images = json.loads(run(["podman", "image", "ls", "--format", "json"], account))
    return {name: image["Digest"] for image in images for name in image.get("Names") or []}


def lacking(images, present):
    """Images that are not there under their name with their digest."""
    return [image for image in images if present.get(image["name"]) != image["digest"]]


def copy(layout, image, account):
    """Copy one image; skopeo fails rather than change the digest."""
    run(
        [
            "skopeo",
            "copy",
            "--quiet",
            "--preserve-digests",
            f"oci:{layout}:{image['name']}",
            f"containers-storage:{image['name']}",
        ],
        account,
    )


def ensure(params, account, check_mode):
    """Copy what is lacking; returns (state before, names copied)."""
    images = params["images"]
    if check_mode and not can_ask(account):
        return {}, [image["name"] for image in images]
    present = stored(account)
    wanted = lacking(images, present)
    if wanted and not check_mode:
        for image in wanted:
            copy(params["layout"], image, account)
        wrong = lacking(wanted, stored(account))
        if wrong:
            names = ", ".join(image["name"] for image in wrong)
            raise CommandError(f"{names}: another digest than the bundle promises")
    return present, [image["name"] for image in wanted]


def difference(images, present):
    """The wanted images before and after, for --diff."""
    before = [f"{i['name']} {present[i['name']]}\n" for i in images if i["name"] in present]
    after = [f"{i['name']} {i['digest']}\n" for i in images]
    return {"before": "".join(before), "after": "".join(after)}


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
            "user": {"type": "str", "default": "root"},
        },
        supports_check_mode=True,
    )
    params = module.params
    if not params["images"]:
        module.exit_json(changed=False, copied=[])
    try:
        account = account_of(params["user"])
        present, copied = ensure(params, account, module.check_mode)
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"images for {params['user']}: {error}")
    module.exit_json(
        changed=bool(copied), copied=copied, diff=difference(params["images"], present)
    )


if __name__ == "__main__":
    main()
