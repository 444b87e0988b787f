#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Subordinate user and group ids for rootless containers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_subids
short_description: Give users ranges of subordinate ids in /etc/subuid and /etc/subgid
description:
  - Each user who has no range of at least 65536 ids gets one that no other user has.
  - C(useradd -r) and directory services give none, and rootless containers need one.
  - Writes the files itself, because usermod refuses users of directory services.
options:
  users:
    description: Names of existing users.
    type: list
    elements: str
    required: true
  first:
    description: First id to give out.
    type: int
    default: 524288
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Predicts the ranges and writes nothing.
    support: full
  diff_mode:
    description: Shows both files.
    support: full
"""

EXAMPLES = r"""
- name: Let alice run containers
  landbridge_subids:
    users: [alice]
"""

RETURN = r"""
uids:
  description: User id by name.
  returned: always
  type: dict
  sample: {"alice": 1001}
"""

import os
import pwd
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

SIZE = 65536
FILES = (Path("/etc/subuid"), Path("/etc/subgid"))


def parse(text):
    """(owner, first, size) of each line of a subid file."""
    lines = [line.split(":") for line in text.splitlines() if line.count(":") == 2]
    return [(owner, int(first), int(size)) for owner, first, size in lines]


def missing(ranges, accounts):
    """Names without a large enough range; a line may name the user or the user's id."""
    return [
        name
        for name, uid in accounts.items()
        if not any(owner in (name, str(uid)) and size >= SIZE for owner, _first, size in ranges)
    ]


def allocate(texts, accounts, first):
    """The files' new contents.

    A user gets the same new range in both files, above every range of either.
    """
    ranges = [parse(text) for text in texts]
    lacking = [missing(each, accounts) for each in ranges]
    start = max([first] + [low + size for each in ranges for _owner, low, size in each])
    results = [text if not text or text.endswith("\n") else text + "\n" for text in texts]
    for name in accounts:
        for number, names in enumerate(lacking):
            if name in names:
                results[number] += f"{name}:{start}:{SIZE}\n"
        if any(name in names for names in lacking):
            start += SIZE
    return results


def read(path):
    """Text of a file, empty where there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def write(module, path, text):
    """Replace a file whole, keeping its owner, mode and label."""
    new = not path.exists()
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    module.atomic_move(temporary, str(path))
    if new:
        path.chmod(0o644)


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "str", "required": True},
            "first": {"type": "int", "default": 524288},
        },
        supports_check_mode=True,
    )
    accounts = {}
    for name in module.params["users"]:
        try:
            accounts[name] = pwd.getpwnam(name).pw_uid
        except KeyError:
            module.fail_json(msg=f"user {name} does not exist; create it first")
    before = [read(path) for path in FILES]
    after = allocate(before, accounts, module.params["first"])
    diff = []
    for number, path in enumerate(FILES):
        old, new, header = before[number], after[number], str(path)
        diff.append({"before": old, "after": new, "before_header": header, "after_header": header})
        if old != new and not module.check_mode:
            write(module, path, new)
    module.exit_json(changed=before != after, uids=accounts, diff=diff)


if __name__ == "__main__":
    main()
