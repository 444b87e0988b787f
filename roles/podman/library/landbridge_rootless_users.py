#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""The users of role podman, judged on the node that knows them."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_rootless_users
short_description: Judge the users who are to run containers, and their limits
description:
  - Fails with every problem at once, each with the variable's name and the mend.
  - A user must be known to NSS under exactly this name. Podman, systemd and newuidmap look for what
    belongs to a user under the name that NSS gives for the id.
options:
  users:
    description: Entries of C(podman_rootless_users).
    type: list
    elements: dict
    required: true
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: It changes nothing in either mode.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Judge the users
  landbridge_rootless_users:
    users:
      - name: alice
        memory: 8G
"""

RETURN = r"""
problems:
  description: One sentence each.
  returned: always
  type: list
  elements: str
  sample: []
"""

import pwd
import re
from collections import Counter
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

# Above it setrlimit fails, and with it each of the user's logins.
MOST_FILES = Path("/proc/sys/fs/nr_open")
MEMORY = re.compile(r"[1-9][0-9]*[KMGT]?|([1-9][0-9]?|100)%")


def bad_name(name):
    """What is wrong with a user, or an empty text."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return (
            "does not exist; create the user first, or see `getent passwd` and `systemctl status "
            "sssd` for one of a directory"
        )
    if account.pw_name != name:
        return f"is called {account.pw_name} by this node; write that name"
    if account.pw_uid == 0:
        return "is root, whose containers need no ranges and no limits; drop the entry"
    if "/" in name or name.startswith(".") or not name.isprintable():
        return "has a name that cannot be a directory's; choose another user"
    return ""


def bad_limits(user):
    """A sentence's end for each limit that systemd or pam_limits would refuse."""
    found = []
    memory, cpus = user.get("memory"), user.get("cpus")
    if memory is not None and not MEMORY.fullmatch(memory):
        found.append(f"memory '{memory}': write bytes, a size such as 8G, or a share such as 25%")
    if cpus is not None and cpus < 0.01:
        found.append(f"cpus {cpus}: write a number of processors above 0, for example 2.5")
    if user.get("tasks") is not None and user["tasks"] < 1:
        found.append(f"tasks {user['tasks']}: write a number of processes above 0, or drop it")
    most = int(MOST_FILES.read_text(encoding="ascii"))
    if user.get("nofile") is not None and not 1 <= user["nofile"] <= most:
        found.append(f"nofile {user['nofile']}: write a number from 1 to fs.nr_open, here {most}")
    return found


def judge(users):
    """A sentence for each problem."""
    found = []
    for user in users:
        wrong = bad_name(user["name"])
        if wrong:
            found.append(f"podman_rootless_users: {user['name']} {wrong}")
        found += [
            f"podman_rootless_users: of {user['name']}, {limit}" for limit in bad_limits(user)
        ]
    for name, count in Counter(user["name"] for user in users).items():
        if count > 1:
            found.append(f"podman_rootless_users: {name} is there {count} times; merge the entries")
    return found


def main():
    """Run as an Ansible module."""
    options = {
        "name": {"type": "str", "required": True},
        "images": {"type": "bool"},
        "memory": {"type": "str"},
        "cpus": {"type": "float"},
        "tasks": {"type": "int"},
        "nofile": {"type": "int"},
    }
    users = {"type": "list", "elements": "dict", "required": True, "options": options}
    module = AnsibleModule(argument_spec={"users": users}, supports_check_mode=True)
    problems = judge(module.params["users"])
    if problems:
        module.fail_json(msg="\n".join(problems), problems=problems)
    module.exit_json(changed=False, problems=[])


if __name__ == "__main__":
    main()
