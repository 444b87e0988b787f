#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Users' credentials for registries."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_registry_login
short_description: Write credentials for registries into users' auth.json
description:
  - Merges each login into C(~/.config/containers/auth.json) of its users, which Podman, Skopeo
    and their services read, with or without a session; C(podman login) writes to a file that a
    restart forgets.
  - An entry that this module has made and that is wanted no more is removed; entries that users
    have made themselves stay.
  - The file is touched with the user's own rights, so that homes on NFS work and a user's link
    leads nowhere that the user could not write.
options:
  logins:
    description: Everything that is wanted.
    type: list
    elements: dict
    required: true
    suboptions:
      registry:
        description: Host and port of the registry, or a path below it.
        type: str
        required: true
      username:
        description: User at the registry.
        type: str
        required: true
      password:
        description: Password at the registry.
        type: str
        required: true
      users:
        description: Existing users of the node who get the login.
        type: list
        elements: str
        default: [root]
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Says what would change.
    support: full
  diff_mode:
    description: Shows registries and user names, never a password.
    support: full
"""

EXAMPLES = r"""
- name: Log root and alice in
  landbridge_registry_login:
    logins:
      - registry: registry.example.org
        username: puller
        password: "{{ vault_registry_password }}"
        users: [root, alice]
"""

RETURN = r"""
registries:
  description: Registries by user, without credentials.
  returned: always
  type: dict
  sample: {"alice": ["registry.example.org"]}
"""

import base64
import binascii
import contextlib
import json
import os
import stat
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import (
    STATE,
    CommandError,
    account_of,
    read_record,
    write_record,
)

RECORD = STATE / "logins.json"
MODE = 0o600


@contextlib.contextmanager
def acting_as(account):
    """The process has the user's rights until the block ends."""
    if account.pw_uid == os.geteuid():
        yield
        return
    group, groups = os.getegid(), os.getgroups()
    os.setgroups(os.getgrouplist(account.pw_name, account.pw_gid))
    os.setegid(account.pw_gid)
    os.seteuid(account.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def wanted_logins(logins):
    """Entries of auth.json by user and registry."""
    wanted = {}
    for login in logins:
        pair = f"{login['username']}:{login['password']}".encode()
        entry = {"auth": base64.b64encode(pair).decode()}
        for user in login["users"]:
            wanted.setdefault(user, {})[login["registry"]] = entry
    return wanted


def account_with_home(user):
    """The user's entry; CommandError where the user or the home does not exist."""
    account = account_of(user)
    if not Path(account.pw_dir).is_dir():
        raise CommandError(f"home {account.pw_dir} of {user} does not exist; create it first")
    return account


def auth_file(account):
    """The user's file; where it is a link, what that leads to."""
    path = Path(account.pw_dir, ".config/containers/auth.json")
    try:
        return path.resolve()
    except RuntimeError:  # Python before 3.13
        raise CommandError(f"{path} is a link to itself; remove it") from None


def read(path):
    """The file's content; empty where there is none. It is the user's, so it may be anything."""
    if path.exists() and not path.is_file():
        raise CommandError(f"{path} is no file; remove it")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = content.setdefault("auths", {})
        entries.items()
    except FileNotFoundError:
        return {"auths": {}}
    except (ValueError, AttributeError):
        raise CommandError(f"{path} is no auth.json; mend or remove it") from None
    return content


def merged(content, wanted, ours):
    """The content with what is wanted and without what was ours."""
    kept = {name: entry for name, entry in content["auths"].items() if name not in ours}
    return {**content, "auths": {**kept, **wanted}}


def is_sound(path, account):
    """Whether the file is the user's and nobody else's; so is one that is not there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return True
    return (status.st_uid, stat.S_IMODE(status.st_mode)) == (account.pw_uid, MODE)


def make_folders(path):
    """Make a directory and those above it that nobody else may enter."""
    if not path.is_dir():
        make_folders(path.parent)
        path.mkdir(mode=0o700)


def write(path, content):
    """Replace the file whole; nothing is left of one without content."""
    if content == {"auths": {}}:
        path.unlink(missing_ok=True)
        return
    make_folders(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent="\t")
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink()
        raise


def shown(entries, before):
    """Lines for --diff: a registry and a user's name; whether the password is another one."""
    lines = []
    for registry, entry in sorted(entries.items()):
        try:
            name = base64.b64decode(entry.get("auth", ""), validate=True).decode().split(":")[0]
        except (binascii.Error, UnicodeDecodeError, AttributeError, TypeError):
            name = "?"
        other = registry in before and before[registry] != entry
        lines.append(f"{registry}: {name}, {'another' if other else 'a'} password\n")
    return "".join(lines)


def settle(account, wanted, ours, check_mode):
    """Bring one user's file to what is wanted; returns the difference, or None."""
    with acting_as(account):
        path = auth_file(account)
        before = read(path)
        after = merged(before, wanted, ours)
        if before == after and is_sound(path, account):
            return None
        if not check_mode:
            write(path, after)
    touched = {*wanted, *ours}
    old = {name: entry for name, entry in before["auths"].items() if name in touched}
    return {
        "before_header": str(path),
        "after_header": str(path),
        "before": shown(old, {}),
        "after": shown(wanted, old),
    }


def ensure(wanted, check_mode):
    """Bring every user's file to what is wanted; returns the differences.

    The record names all that may be there before any file changes, so that an interrupted run
    leaves nothing of which nobody knows.
    """
    record = read_record(RECORD)
    final = {user: sorted(entries) for user, entries in sorted(wanted.items())}
    everyone = sorted({*record, *wanted})
    if record != final and not check_mode:
        both = {u: sorted({*record.get(u, []), *final.get(u, [])}) for u in everyone}
        write_record(RECORD, both)
    differences = []
    for user in everyone:
        try:
            account = account_with_home(user)
        except CommandError:
            if user in wanted:
                raise
            continue  # the user has gone, and the file with the home
        try:
            found = settle(account, wanted.get(user, {}), record.get(user, []), check_mode)
        except OSError as error:
            raise CommandError(f"{user}: {error.filename}: {error.strerror}") from None
        differences += [found] if found else []
    if record != final and not check_mode:
        write_record(RECORD, final)
    return differences


def main():
    """Run as an Ansible module."""
    login = {
        "registry": {"type": "str", "required": True},
        "username": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "users": {"type": "list", "elements": "str", "default": ["root"]},
    }
    module = AnsibleModule(
        argument_spec={
            "logins": {"type": "list", "elements": "dict", "required": True, "options": login}
        },
        supports_check_mode=True,
    )
    wanted = wanted_logins(module.params["logins"])
    try:
        differences = ensure(wanted, module.check_mode)
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"logins: {error}")
    module.exit_json(
        changed=bool(differences),
        registries={user: sorted(entries) for user, entries in sorted(wanted.items())},
        diff=differences,
    )


if __name__ == "__main__":
    main()
