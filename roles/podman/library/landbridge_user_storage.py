#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Users' storage.conf, so that they read image stores besides their own."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_user_storage
short_description: Have users read image stores besides their own
description:
  - Podman before version 6 takes the image stores of users from ~/.config/containers/storage.conf
    alone, not from /etc/containers/storage.conf. This module writes that file, as the user; a file
    that it has not written is left as it is.
  - A store does not leave the file while a user's containers or images are built on its images.
options:
  users:
    description: Names of existing users.
    type: list
    elements: str
    required: true
  without:
    description: Those of O(users) who do not read O(shared).
    type: list
    elements: str
    default: []
  shared:
    description: Directory of the shared image store; empty for none.
    type: str
    default: ""
  additional:
    description: Directories of other image stores.
    type: list
    elements: path
    default: []
  driver:
    description: Storage driver.
    type: str
    required: true
  storage:
    description: Directory in which each user has a store; empty for the users' homes.
    type: str
    default: ""
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Predicts the files and writes nothing.
    support: full
  diff_mode:
    description: Shows the files.
    support: full
"""

EXAMPLES = r"""
- name: Have alice read the shared store
  landbridge_user_storage:
    users: [alice]
    shared: /var/lib/shared
    driver: overlay
"""

RETURN = r"""
sharing:
  description: Users who read the shared store.
  returned: always
  type: list
  elements: str
  sample: [alice]
"""

import json
import sys
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import (
    CommandError,
    account_of,
    can_ask,
    layers_needed,
    layers_of,
    run,
)

FILE = "{home}/.config/containers/storage.conf"
MARK = "# Managed by Landbridge (role podman); without this line the file is yours.\n"
# Run as the user: what lies in a home may be a link to anywhere.
READ = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
sys.stdout.write(path.read_text() if path.exists() else "")
"""
WRITE = """
import os, pathlib, sys, tempfile
path, text = pathlib.Path(sys.argv[1]), sys.stdin.read()
if text:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    os.replace(temporary, path)
else:
    path.unlink()
"""


class UserStorage:
    """A user's storage.conf, as it is and as it is to be."""

    def __init__(self, account, params, *, predicted):
        """With `predicted`, the shared store counts as made."""
        self.account = account
        self.path = FILE.format(home=account.pw_dir)
        self.before = run([sys.executable, "-I", "-c", READ, self.path], account)
        self.foreign = bool(self.before) and not self.before.startswith(MARK)
        # Podman does not start with a store that is not there, as of a bundle without images.
        there = predicted or (Path(params["shared"]) / "overlay-images").is_dir()
        shares = there and account.pw_name not in params["without"]
        self.shared = params["shared"] if shares else ""
        self.stores = [s for s in [self.shared, *params["additional"]] if s]
        self.after = self.before if self.foreign else self.text(params)

    def text(self, params):
        """The file that is wanted; empty for none."""
        if not self.stores:
            return ""
        lines = [MARK + "[storage]", f"driver = {json.dumps(params['driver'])}"]
        if params["storage"]:
            graphroot = f"{params['storage']}/{self.account.pw_uid}/storage"
            lines.append(f"graphroot = {json.dumps(graphroot)}")
        lines += ["", "[storage.options]", f"additionalimagestores = {json.dumps(self.stores)}"]
        if self.shared:
            # Root made the files; fuse-overlayfs shows them as the image has them.
            lines += ["", "[storage.options.overlay]", 'mount_program = "/usr/bin/fuse-overlayfs"']
        return "\n".join(lines) + "\n"

    def left(self):
        """Stores that leave the file."""
        key = "additionalimagestores = "
        lines = [line for line in self.before.splitlines() if line.startswith(key)]
        if self.foreign or not lines:
            return []
        return [s for s in json.loads(lines[0].removeprefix(key)) if s not in self.stores]

    def check(self):
        """Fail where something of the user's is built on a store that leaves."""
        left = self.left()
        if not left or not can_ask(self.account):
            return
        needed = layers_needed(self.account)
        for store in left:
            if needed & set(layers_of(store)):
                raise CommandError(
                    f"podman_shared_image_store or podman_additional_image_stores drop {store},"
                    f" on whose images containers or images of {self.account.pw_name} are built;"
                    " remove those (podman container ls --all, podman image ls) or keep the store"
                )

    def write(self):
        """Write the file as the user."""
        run([sys.executable, "-I", "-c", WRITE, self.path], self.account, stdin=self.after)


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "str", "required": True},
            "without": {"type": "list", "elements": "str", "default": []},
            "shared": {"type": "str", "default": ""},
            "additional": {"type": "list", "elements": "path", "default": []},
            "driver": {"type": "str", "required": True},
            "storage": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        accounts = [account_of(user) for user in module.params["users"]]
        check = module.check_mode
        users = [UserStorage(each, module.params, predicted=check) for each in accounts]
        changed = [user for user in users if user.before != user.after]
        for user in changed:
            user.check()
        for user in changed if not check else []:
            user.write()
    except (CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    for user in users:
        if user.foreign and user.stores:
            module.warn(
                f"{user.path} is {user.account.pw_name}'s own and stays, so {user.account.pw_name}"
                " reads no other image stores, and gets images into a store of their own"
            )
    module.exit_json(
        changed=bool(changed),
        sharing=[u.account.pw_name for u in users if u.shared and not u.foreign],
        diff=[
            {"before": u.before, "after": u.after, "before_header": u.path, "after_header": u.path}
            for u in changed
        ],
    )


if __name__ == "__main__":
    main()
