#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""New subordinate ids for users who have containers already."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_podman_migrate
short_description: Have users' Podman take up their ranges of subordinate ids
description:
  - A user's Podman keeps a process that holds its user namespace. One that was started before the
    user had all ranges goes on without them until C(podman system migrate), which ends the user's
    containers.
  - Compares that process with C(getsubids), so an interrupted run is taken up again and a user
    whose Podman is as it should be is left alone.
options:
  users:
    description: Names of existing users.
    type: list
    elements: str
    required: true
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Says who would be migrated.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Take up new ranges
  landbridge_podman_migrate:
    users: [alice]
"""

RETURN = r"""
migrated:
  description: Names of the users whose Podman did not know its ranges.
  returned: always
  type: list
  elements: str
  sample: [alice]
"""

import re
import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import (
    CommandError,
    account_of,
    run,
    runtime_directory,
)

PROC = Path("/proc")


def pause_process(account):
    """Folder in /proc of the process that holds the user's namespace; None where there is none."""
    file = runtime_directory(account) / "libpod/tmp/pause.pid"
    try:
        folder = PROC / file.read_text(encoding="ascii").strip()
        status = (folder / "status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    real = re.search(r"^Uid:\s+([0-9]+)", status, re.M)[1]
    return folder if int(real) == account.pw_uid else None


def granted(name, option):
    """(first, count) of each range that a user has."""
    done = subprocess.run(
        ["getsubids", *option, name], capture_output=True, encoding="utf-8", check=False
    )
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return {tuple(map(int, line.split()[-2:])) for line in lines}


def outdated(account):
    """Whether a user's Podman runs without one of the user's ranges."""
    folder = pause_process(account)
    if folder is None:
        return False
    for file, option in (("uid_map", []), ("gid_map", ["-g"])):
        lines = (folder / file).read_text(encoding="ascii").splitlines()
        held = {tuple(map(int, line.split()[1:])) for line in lines}
        if granted(account.pw_name, option) - held:
            return True
    return False


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"users": {"type": "list", "elements": "str", "required": True}},
        supports_check_mode=True,
    )
    migrated = []
    try:
        for name in module.params["users"]:
            account = account_of(name)
            if shutil.which("getsubids") and outdated(account):
                migrated.append(name)
                if not module.check_mode:
                    run(["podman", "system", "migrate"], account)
    except CommandError as error:
        module.fail_json(msg=str(error), migrated=migrated)
    module.exit_json(changed=bool(migrated), migrated=migrated)


if __name__ == "__main__":
    main()
