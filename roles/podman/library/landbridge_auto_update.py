#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Automatic updates of containers: when they happen, and the one that is due now."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_auto_update
short_description: Schedule podman auto-update for some users, and update from images brought here
description:
  - Sets podman-auto-update.timer of root and of the given users, and switches off what an earlier
    call has switched on.
  - Runs podman auto-update at once for users with a container of policy local whose image has been
    replaced in the store.
  - Fails when Podman went back to an old image; the service runs on with that. So does, for a timer
    that is switched on here, podman-auto-update.service, for people to see it.
options:
  users:
    description: Who has containers that are updated automatically; root among them or not.
    type: list
    elements: str
    required: true
  calendar:
    description: systemd's OnCalendar; empty for no timer.
    type: str
    default: ""
requirements:
  - podman >= 4.6
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Predicts the timers and, for images that are there already, the updates.
    support: full
  diff_mode:
    description: Shows the drop-ins of the timers, and services to update.
    support: full
"""

EXAMPLES = r"""
- name: Update root's containers at night
  landbridge_auto_update:
    users: [root]
    calendar: "*-*-* 03:00"
"""

RETURN = r"""
updated:
  description: Services that were, or in check mode would be, updated, with their users.
  returned: always
  type: list
  elements: str
  sample: ["web.service of root"]
"""

import json
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import CommandError, account_of, can_ask, run
from ansible.module_utils.landbridge_services import (
    image_ids,
    journal,
    outdated,
    states,
    systemctl,
)

TIMER = "podman-auto-update.timer"
ROOT = Path("/etc/systemd/system", f"{TIMER}.d", "50-landbridge.conf")
# One for all users, for nothing of root's should lie in their homes; it names who it is for.
USERS = Path("/etc/systemd/user", f"{TIMER}.d", "50-landbridge.conf")
ENABLED_FOR_USERS = Path("/etc/systemd/user/timers.target.wants", TIMER)
SERVICE = "podman-auto-update.service"
ROOT_SERVICE = Path("/etc/systemd/system", f"{SERVICE}.d", "50-landbridge.conf")
USERS_SERVICE = Path("/etc/systemd/user", f"{SERVICE}.d", "50-landbridge.conf")
HEADER = "# Managed by Landbridge (role podman): podman_auto_update_calendar.\n"
# Podman calls it a success when it could go back to the old image.
VISIBLY = f"""{HEADER}[Service]
ExecStart=
ExecStart=/bin/sh -c 'said=$$(/usr/bin/podman auto-update); code=$$?; echo "$$said"; \\
case "$$said" in *"rolled back"*) exit 1;; esac; exit $$code'
"""


def read(path):
    """Text of a file, empty where there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def drop_ins(users, calendar):
    """Texts of the drop-ins, empty where the timer is not wanted."""
    others = [user for user in users if user != "root"]
    when = f"[Timer]\nOnCalendar=\nOnCalendar={calendar}\n"
    whose = "".join(f"ConditionUser=|{user}\n" for user in others)
    for_root, for_users = bool(calendar and "root" in users), bool(calendar and others)
    return {
        ROOT: HEADER + when if for_root else "",
        ROOT_SERVICE: VISIBLY if for_root else "",
        USERS: f"{HEADER}[Unit]\n{whose}\n{when}" if for_users else "",
        USERS_SERVICE: VISIBLY if for_users else "",
    }


def users_of(text):
    """Whom a drop-in for users is for."""
    return re.findall(r"^ConditionUser=\|(.*)$", text, re.MULTILINE)


def write(module, path, text):
    """Write or remove a drop-in."""
    if not text:
        path.unlink()
        return
    if not path.parent.exists():
        path.parent.mkdir()
        path.parent.chmod(0o755)
    handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    module.atomic_move(temporary, str(path))
    path.chmod(0o644)


def commands(before, after, known):
    """(account, systemctl's arguments) that bring the timers in line with the drop-ins.

    Args:
        before: texts of the drop-ins.
        after: as they are to be.
        known: the timer's state by account name, for those who can be asked.
    """
    root = account_of("root")
    wanted = ["root"] * bool(after[ROOT]) + users_of(after[USERS])
    ours = ["root"] * bool(before[ROOT]) + users_of(before[USERS])
    if after[USERS] and not os.path.lexists(ENABLED_FOR_USERS):
        yield root, ("--global", "enable", TIMER)
    if before[USERS] and not after[USERS]:
        yield root, ("--global", "disable", TIMER)
    for user in sorted({*wanted, *ours} & {*known}):
        paths = (ROOT, ROOT_SERVICE) if user == "root" else (USERS, USERS_SERVICE)
        changed = any(before[path] != after[path] for path in paths)
        state = known[user]
        active = state.get("ActiveState") == "active"
        enabled = user != "root" or state.get("UnitFileState") == "enabled"
        if changed or state.get("NeedDaemonReload") == "yes":
            yield account_of(user), ("daemon-reload",)
        if user in wanted and not enabled:
            yield account_of(user), ("enable", TIMER)
        if user in wanted and (changed or not active):
            yield account_of(user), ("restart", TIMER)
        if user not in wanted and user == "root":
            yield account_of(user), ("disable", "--now", TIMER)
        elif user not in wanted and active:
            yield account_of(user), ("stop", TIMER)


def reachable(users):
    """Accounts by name of the users whose Podman can be asked."""
    found = {}
    for user in users:
        try:
            account = account_of(user)
        except CommandError:
            continue
        if can_ask(account):
            found[user] = account
    return found


def schedule(module, params):
    """Set the timers; returns (whether anything changes, diff)."""
    after = drop_ins(params["users"], params["calendar"])
    before = {path: read(path) for path in after}
    concerned = reachable({"root", *params["users"], *users_of(before[USERS])})
    known = {user: states(account, [TIMER])[TIMER] for user, account in concerned.items()}
    steps = list(commands(before, after, known))
    if not module.check_mode:
        for path, text in after.items():
            if text != before[path]:
                write(module, path, text)
        for account, arguments in steps:
            systemctl(account, *arguments)
    diff = [
        {
            "before": before[path],
            "after": text,
            "before_header": str(path),
            "after_header": str(path),
        }
        for path, text in after.items()
    ]
    return before != after or bool(steps), diff


def update(users, check_mode):
    """Update from images that were brought here; returns the services, with their users."""
    updated, refused = [], []
    for user, account in reachable(users).items():
        due = outdated(account, image_ids(account), policy="local")
        updated += [f"{service} of {user}" for service in sorted(due)]
        if due and not check_mode:
            began = int(time.time())
            said = run(["podman", "auto-update", "--format", "json"], account)
            for each in json.loads(said):
                if each["Updated"] in ("failed", "rolled back"):
                    refused.append(complaint(user, account, each, began))
    if refused:
        raise CommandError("\n".join(refused))
    return updated


def complaint(user, account, report, began):
    """What went wrong with one container."""
    what = f"{report['Unit']} of {user}: {report['Image']}: update {report['Updated']}"
    why = "the new image does not start, or is not healthy; the service runs on with the old one"
    return f"{what}: {why}\n{journal(account, report['Unit'], began)}"


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "str", "required": True},
            "calendar": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    if shutil.which("podman") is None and not module.check_mode:
        module.fail_json(msg="Podman is not installed")
    try:
        changed, diff = schedule(module, params)
        updated = update(params["users"], module.check_mode)
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"automatic updates: {error}")
    if updated:
        header = {"before_header": "services to update", "after_header": "services to update"}
        diff.append({"before": "", "after": "".join(f"{name}\n" for name in updated), **header})
    module.exit_json(changed=changed or bool(updated), updated=updated, diff=diff)


if __name__ == "__main__":
    main()
