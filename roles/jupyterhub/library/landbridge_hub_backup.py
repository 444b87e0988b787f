#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""A backup of the hub's state, made or restored."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_hub_backup
short_description: Make a backup of a hub's state, or restore one
description:
  - A backup is a directory on the node with the hub's database and, where that is asked for, what
    teams have in their folders. It fits SQLite and PostgreSQL, whichever it was made of.
  - To restore stops the hub meanwhile; no server may run. The teams' folders of before are kept
    beside the restored ones.
options:
  state:
    description: What is done.
    type: str
    choices: [made, restored]
    default: made
  backup:
    description: The backup that is restored.
    type: path
  files:
    description: Whether the backup that is made holds the teams' files as well.
    type: bool
    default: false
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: A backup that would be restored is checked.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Make a backup before an upgrade
  landbridge_hub_backup:
    files: true
"""

RETURN = r"""
backup:
  description: The backup's directory; none where the node has no hub.
  returned: always
  type: str
  sample: /var/lib/landbridge/jupyterhub-backups/2026-11-30T012000.000000Z-asked
before:
  description: Where the teams' folders of before a restoration are.
  returned: always
  type: list
  elements: str
  sample: []
"""

import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

CONFIGURATION = Path("/etc/landbridge/jupyterhub")


def arguments(module):
    """What the program on the node is asked for."""
    if module.params["state"] == "restored":
        return ["check" if module.check_mode else "restore", module.params["backup"]]
    return ["make", "--reason=asked", *(["--files"] if module.params["files"] else [])]


def ensure(module):
    """The module's answer."""
    settings = CONFIGURATION / "values.json"
    if not settings.exists():
        return {"changed": False, "backup": None, "before": []}
    program = CONFIGURATION / "backup.py"
    if not program.exists():
        module.fail_json(
            msg="the hub of this node was set up by an older release, which makes no backups; "
            "converge it first: landbridge apply --tags preflight,jupyterhub"
        )
    if module.check_mode and module.params["state"] == "made":
        return {"changed": True, "backup": "", "before": []}
    python = Path(json.loads(settings.read_text(encoding="utf-8"))["prefix"], "bin", "python")
    code, output, error = module.run_command([str(python), str(program), *arguments(module)])
    if code:
        lines = error.strip().splitlines() or [f"exit code {code}"]
        module.fail_json(
            msg=f"the hub of this node: {lines[-1].removeprefix('error: ')}", stderr=error
        )
    answer = json.loads(output.splitlines()[-1])
    return {"changed": True, "before": [], **answer}


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["made", "restored"], "default": "made"},
            "backup": {"type": "path"},
            "files": {"type": "bool", "default": False},
        },
        required_if=[("state", "restored", ["backup"])],
        supports_check_mode=True,
    )
    module.exit_json(**ensure(module))


if __name__ == "__main__":
    main()
