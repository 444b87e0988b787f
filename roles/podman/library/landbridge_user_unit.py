#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""A unit of users' service managers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_user_unit
short_description: Start or stop one unit in the service managers of several users
description:
  - Needs no login and no sudo rule for the users, as C(scope=user) of
    M(ansible.builtin.systemd_service) does.
  - A service manager that has read an older file of the unit reads it again.
options:
  name:
    description: The unit.
    type: str
    required: true
  users:
    description: Names of existing users; their service managers must be running.
    type: list
    elements: str
    required: true
  state:
    description: Whether the unit must be active.
    type: str
    choices: [started, stopped]
    required: true
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Takes a unit as stopped where the user's service manager does not run yet.
    support: full
  diff_mode:
    description: Shows each user's unit before and after.
    support: full
"""

EXAMPLES = r"""
- name: Let alice's containers be reached
  landbridge_user_unit:
    name: podman.socket
    users: [alice]
    state: started
"""

RETURN = r"""
users:
  description: Whose unit was, or in check mode would be, started or stopped.
  returned: always
  type: list
  elements: str
  sample: [alice]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import (
    CommandError,
    account_of,
    run,
    runtime_directory,
)

VERBS = {"started": "start", "stopped": "stop"}


def systemctl(account, *words):
    """Standard output of a systemctl that talks to the user's service manager."""
    return run(["systemctl", "--user", *words], account)


def state_of(unit, account, check_mode):
    """`started` or `stopped`."""
    if check_mode and not (runtime_directory(account) / "systemd").is_dir():
        return "stopped"
    active = systemctl(account, "show", "--property=ActiveState", "--value", unit).strip()
    return "started" if active in ("active", "activating", "reloading") else "stopped"


def refresh(unit, account):
    """Have the service manager read its files again where the unit's has changed since."""
    if systemctl(account, "show", "--property=NeedDaemonReload", "--value", unit).strip() == "yes":
        systemctl(account, "daemon-reload")


def ensure(params, check_mode):
    """State by user before; what is not as wanted is started or stopped."""
    accounts = {name: account_of(name) for name in params["users"]}
    before = {name: state_of(params["name"], a, check_mode) for name, a in accounts.items()}
    if not check_mode:
        for name, account in accounts.items():
            refresh(params["name"], account)
            if before[name] != params["state"]:
                systemctl(account, VERBS[params["state"]], params["name"])
    return before


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "users": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": list(VERBS), "required": True},
        },
        supports_check_mode=True,
    )
    unit, wanted = module.params["name"], module.params["state"]
    try:
        before = ensure(module.params, module.check_mode)
    except CommandError as error:
        module.fail_json(msg=str(error))
    changed = [name for name, state in before.items() if state != wanted]
    diff = {
        "before": "".join(f"{name} {unit} {state}\n" for name, state in before.items()),
        "after": "".join(f"{name} {unit} {wanted}\n" for name in before),
    }
    module.exit_json(changed=bool(changed), users=changed, diff=diff)


if __name__ == "__main__":
    main()
