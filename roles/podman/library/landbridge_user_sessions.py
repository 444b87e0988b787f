#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""What systemd and PAM give to users who run containers without a login."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_user_sessions
short_description: Let users' services run without a login, within limits
description:
  - Switches lingering on, starts the users' service managers, and writes their limits as drop-ins
    of systemd and of pam_limits. Files of users who are not named any more are removed.
  - A limit of a slice holds at once. Delegation and open files hold for a service manager from its
    next start on, because only the user's own logout may end one; a warning names those users.
  - All users in one call, because a node may have hundreds.
options:
  users:
    description: Entries of C(podman_rootless_users) that exist.
    type: list
    elements: dict
    required: true
  delegate:
    description: Controllers that every user's service manager gets; none leaves it to systemd.
    type: list
    elements: str
    default: []
  let_go:
    description:
      - In place of all that, switch lingering off for users who are not named any more, where this
        module has switched it on. Their services end with their last session; nothing is deleted.
    type: bool
    default: false
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Predicts every change and makes none.
    support: full
  diff_mode:
    description: Shows files, and who lingers and runs.
    support: full
"""

EXAMPLES = r"""
- name: Let alice's containers run without a login, with 8 GiB for all of them
  landbridge_user_sessions:
    users:
      - name: alice
        memory: 8G
    delegate: [cpu, memory, pids]
"""

RETURN = r"""
let_go:
  description: Users who do not linger any more.
  returned: always
  type: list
  elements: str
  sample: []
"""

import os
import pwd
import subprocess
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import STATE, read_record, write_record

UNITS = Path("/etc/systemd/system")
LIMITS = Path("/etc/security/limits.d/50-landbridge-podman.conf")
LINGER = Path("/var/lib/systemd/linger")
# Name and id of those who would not linger without us.
RECORD = STATE / "lingers.json"
# One name each: of two drop-ins of one name, systemd reads only that of the one user.
DELEGATE = UNITS / "user@.service.d/50-landbridge-delegate.conf"
OF_SERVICE = "50-landbridge-nofile.conf"
OF_SLICE = "50-landbridge-limits.conf"
HEADER = "# Managed by Landbridge (role podman).\n"


class SystemdError(Exception):
    """systemd refused; the text says what."""


def run(*argv):
    """Standard output of a command that must succeed."""
    done = subprocess.run(argv, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise SystemdError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def slice_limits(user):
    """Lines of a user's slice, which holds all that the user runs."""
    lines = []
    if user["memory"] is not None:
        lines.append(f"MemoryMax={user['memory']}")
    if user["cpus"] is not None:
        lines.append(f"CPUQuota={round(user['cpus'] * 100)}%")
    if user["tasks"] is not None:
        lines.append(f"TasksMax={user['tasks']}")
    return lines


def wanted_files(users, uids, delegate):
    """Content by path."""
    files, of_pam = {}, ""
    if delegate:
        # An empty value takes back what systemd's own unit delegates.
        controllers = f"Delegate=\nDelegate={' '.join(sorted(delegate))}\n"
        files[DELEGATE] = f"{HEADER}[Service]\n{controllers}"
    for user in users:
        uid, about = uids[user["name"]], f"{HEADER}# User {user['name']}\n"
        lines = slice_limits(user)
        if lines:
            text = "\n".join([f"{about}[Slice]", *lines, ""])
            files[UNITS / f"user-{uid}.slice.d" / OF_SLICE] = text
        if user["nofile"] is not None:
            text = f"{about}[Service]\nLimitNOFILE={user['nofile']}\n"
            files[UNITS / f"user@{uid}.service.d" / OF_SERVICE] = text
            # By id: a name may hold spaces, which end a field here.
            of_pam += f"# User {user['name']}\n:{uid} - nofile {user['nofile']}\n"
    if of_pam:
        files[LIMITS] = HEADER + of_pam
    return files


def present_files():
    """Content by path of what an earlier run wrote."""
    services, slices = f"user@*.service.d/{OF_SERVICE}", f"user-*.slice.d/{OF_SLICE}"
    found = [DELEGATE, LIMITS, *UNITS.glob(services), *UNITS.glob(slices)]
    return {path: path.read_text(encoding="utf-8") for path in found if path.exists()}


def write(module, path, text):
    """Replace a file whole, for all to read whatever the umask is."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o755)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    module.atomic_move(temporary, str(path))
    path.chmod(0o644)


def remove(path):
    """Remove a file of ours, and its drop-in directory if nobody else has put anything there."""
    path.unlink()
    if path.parent != LIMITS.parent and not any(path.parent.iterdir()):
        path.parent.rmdir()


def properties(*units):
    """Name, state and stale configuration of loaded units; patterns match those only."""
    if not units:
        return []
    said = run("systemctl", "show", "--property=Id,ActiveState,NeedDaemonReload", *units)
    blocks = [block.splitlines() for block in said.strip().split("\n\n") if block.strip()]
    return [dict(line.split("=", 1) for line in block) for block in blocks]


def linger_file(name):
    """What tells logind that a user lingers; it escapes as C does."""
    return LINGER / name.replace("\\", "\\\\")


def managers(uids):
    """State of each user's service manager by name."""
    names = {f"user@{uid}.service": name for name, uid in uids.items()}
    return {names[unit["Id"]]: unit["ActiveState"] for unit in properties(*names)}


def stale():
    """Whether an interrupted run has left systemd with old files."""
    units = properties("user@*.service", "user-*.slice")
    return any(unit["NeedDaemonReload"] == "yes" for unit in units)


def needing_start(before, after, states):
    """Users whose running service manager takes a changed file only when it starts again."""
    changed = {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)}
    parts = {path.parent.name for path in changed}
    return [
        name
        for (name, uid), state in states.items()
        if state == "active" and {"user@.service.d", f"user@{uid}.service.d"} & parts
    ]


def prepare(module, uids):
    """Make all that was asked for; returns the result."""
    users, check = module.params["users"], module.check_mode
    before, after = present_files(), wanted_files(users, uids, module.params["delegate"])
    changed = sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))
    reload = bool(changed) or stale()
    states = managers(uids)
    sleeping = [name for name in uids if not linger_file(name).exists()]
    down = [name for name in uids if states[name] != "active"]
    if not check:
        for path in changed:
            if path in after:
                write(module, path, after[path])
            else:
                remove(path)
        if reload:
            run("systemctl", "daemon-reload")
        if sleeping:
            write_record(RECORD, {**read_record(RECORD), **{n: uids[n] for n in sleeping}})
        for name in sleeping:
            run("loginctl", "enable-linger", str(uids[name]))
        if down:
            # loginctl does not wait for /run/user/<uid>, which Podman needs.
            run("systemctl", "start", *(f"user@{uids[name]}.service" for name in down))
    late = needing_start(before, after, {(n, uids[n]): state for n, state in states.items()})
    if late:
        module.warn(
            f"the service managers of {', '.join(late)} run with their old delegation and number "
            "of open files until they start again: after the users' logout, `systemctl restart "
            "user@UID.service` ends and starts their services, as a reboot does"
        )
    return {
        "changed": bool(reload or sleeping or down),
        "diff": [*diff_files(before, after, changed), *diff_sessions(uids, sleeping, states)],
        "let_go": [],
    }


def diff_files(before, after, changed):
    """Differences of files, for Ansible to show."""
    return [
        {
            "before": before.get(path, ""),
            "after": after.get(path, ""),
            "before_header": str(path),
            "after_header": str(path),
        }
        for path in changed
    ]


def diff_sessions(uids, sleeping, states):
    """Differences of who lingers and runs, for Ansible to show."""
    old = [f"{n}: linger {'no' if n in sleeping else 'yes'}, manager {states[n]}\n" for n in uids]
    new = [f"{name}: linger yes, manager active\n" for name in uids]
    return [{"before": "".join(old), "after": "".join(new)}]


def let_go(module):
    """Switch lingering off for users who are not named any more; returns the result."""
    names = {user["name"] for user in module.params["users"]}
    record = read_record(RECORD)
    gone = sorted(record.keys() - names)
    for name in [] if module.check_mode else gone:
        try:
            pwd.getpwnam(name)
        except KeyError:  # deleted meanwhile, and logind knows no such user
            linger_file(name).unlink(missing_ok=True)
        else:
            if linger_file(name).exists():
                run("loginctl", "disable-linger", str(record[name]))
        del record[name]
        write_record(RECORD, record)
    old = "".join(f"{name}: linger yes\n" for name in gone)
    diff = [{"before": old, "after": old.replace("yes", "no")}]
    return {"changed": bool(gone), "diff": diff, "let_go": gone}


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
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "dict", "required": True, "options": options},
            "delegate": {"type": "list", "elements": "str", "default": []},
            "let_go": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        if module.params["let_go"]:
            result = let_go(module)
        else:
            names = [user["name"] for user in module.params["users"]]
            result = prepare(module, {name: pwd.getpwnam(name).pw_uid for name in names})
    except KeyError as error:
        module.fail_json(msg=f"user does not exist: {error}; create the user first")
    except SystemdError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
