#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Where users keep their containers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_rootless_storage
short_description: Give users a directory for containers that their filesystem can hold
description:
  - With a C(path), makes it, and in it a directory of each user's own that nobody else enters,
    called by the user's id. The kernel would take a backslash of a name for an escape when it
    mounts the store. A directory that is another user's is not given away.
  - Without one, containers are in the users' homes.
  - Either filesystem must be local. One across a network does not let a user's subordinate ids own
    files. Every user needs a home as well, for what Podman remembers.
options:
  path:
    description: Directory of all users' stores; empty for the homes.
    type: str
    default: ""
  users:
    description: Names of existing users.
    type: list
    elements: str
    required: true
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Predicts the directories; a home may yet be made by pam_mkhomedir.
    support: full
  diff_mode:
    description: Shows owner and mode of each directory.
    support: full
"""

EXAMPLES = r"""
- name: Keep containers off the homes
  landbridge_rootless_storage:
    path: /data/containers
    users: [alice]
"""

RETURN = r"""
directories:
  description: Directory by name of the user; empty without C(path).
  returned: always
  type: dict
  sample: {"alice": "/data/containers/1001"}
"""

import os
import pwd
import re
import stat
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

MOUNTS = Path("/proc/self/mountinfo")
# They map no ids of user namespaces: what a container's user is to own cannot be written.
REMOTE = {"nfs", "nfs4", "cifs", "smb3", "afs", "gpfs", "lustre", "beegfs", "fuse.sshfs"}


class StorageError(Exception):
    """What an administrator has to mend first."""


def nearest(path):
    """The path itself without links, or what will hold it."""
    path = Path(os.path.realpath(path))
    while not path.exists():
        path = path.parent
    return path


def filesystem(path):
    """Type of the filesystem that holds a path, or will."""
    place = nearest(path)
    place.stat()  # an automounter mounts it now
    found = (0, "")
    for line in MOUNTS.read_text(encoding="utf-8").splitlines():
        fields, _dash, rest = line.partition(" - ")
        escaped = fields.split()[4]
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), escaped)
        # The later of two at one place hides the earlier.
        if Path(point) in (place, *place.parents) and len(point) >= found[0]:
            found = (len(point), rest.split()[0])
    return found[1]


def require_local(path, whose):
    """StorageError where a filesystem cannot hold containers of users."""
    kind = filesystem(path)
    if kind in REMOTE:
        raise StorageError(
            f"{whose} {path} is on {kind}, where subordinate ids cannot own files: set "
            "podman_rootless_storage to a directory on a local filesystem"
        )


def require_home(module, account):
    """StorageError where a user has no home; check mode has not started what may make it."""
    if Path(account.pw_dir).is_dir():
        return
    said = (
        f"home {account.pw_dir} of {account.pw_name} does not exist, and Podman keeps its settings "
        "there: create it, or have it made at login (`authselect enable-feature with-mkhomedir` "
        "and `systemctl enable --now oddjobd`)"
    )
    if not module.check_mode:
        raise StorageError(said)
    module.warn(said)


def require_passable(path):
    """StorageError where users cannot enter a directory on the way to theirs."""
    place = nearest(path)
    for folder in (place, *place.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise StorageError(
                f"users cannot enter {folder} on the way to podman_rootless_storage {path}: "
                f"`chmod o+x {folder}`, or choose another directory"
            )


def make_way(module, path):
    """Make the directory of all users' stores, which any user may enter."""
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
            module.set_default_selinux_context(str(folder), True)


def look(path):
    """(owner, group, mode) of a directory; nothing where there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        raise StorageError(f"{path} is no directory; move it away")
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def own(module, path, account):
    """Make one user's directory; returns its difference."""
    old, new = look(path), (account.pw_uid, account.pw_gid, 0o700)
    if old and old[0] != account.pw_uid:
        raise StorageError(
            f"{path} is to be of {account.pw_name} and belongs to user id {old[0]}: whoever's "
            "containers are in it, move it away or change its owner"
        )
    if old != new and not module.check_mode:
        if old is None:
            path.mkdir(mode=0o700)
            module.set_default_selinux_context(str(path), True)
        os.chown(path, account.pw_uid, account.pw_gid)
        path.chmod(0o700)
    forms = ["absent\n" if s is None else f"{s[0]}:{s[1]} {s[2]:04o}\n" for s in (old, new)]
    headers = {"before_header": str(path), "after_header": str(path)}
    return {**headers, "before": forms[0], "after": forms[1]}


def make(module, accounts):
    """Judge filesystems and make directories; returns the result."""
    base = module.params["path"]
    for account in accounts:
        require_home(module, account)
        if not base:
            require_local(account.pw_dir, f"{account.pw_name}'s home")
    if not base:
        return {"changed": False, "diff": [], "directories": {}}
    path = Path(base)
    require_local(path, "podman_rootless_storage")
    require_passable(path)
    new = not path.exists()
    if not module.check_mode:
        make_way(module, path)
    directories = {account.pw_name: path / str(account.pw_uid) for account in accounts}
    diff = [own(module, directories[account.pw_name], account) for account in accounts]
    return {
        "changed": new or any(d["before"] != d["after"] for d in diff),
        "diff": diff,
        "directories": {name: str(directory) for name, directory in directories.items()},
    }


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "default": ""},
            "users": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        result = make(module, [pwd.getpwnam(name) for name in module.params["users"]])
    except KeyError as error:
        module.fail_json(msg=f"user does not exist: {error}; create the user first")
    except StorageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
