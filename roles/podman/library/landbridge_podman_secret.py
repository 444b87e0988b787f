#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Podman's secrets of one user."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_podman_secret
short_description: Keep exactly the given secrets in a user's Podman
description:
  - A secret is made anew when its value is another one, or somebody else has replaced it.
  - What was made by an earlier call and is not named any more is removed; others' secrets stay.
  - Values go to Podman through standard input. What stays of them outside Podman is a salted hash
    in a file of root's, for no Podman before 4.7 shows a secret.
options:
  secrets:
    description:
      - The secrets as JSON, a list of objects with C(name), C(value) and maybe C(user).
      - One text, so that Ansible hides the whole of it and not the names in other messages.
    type: str
    required: true
requirements:
  - podman
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Predicts, even where Podman is not installed yet.
    support: full
  diff_mode:
    description: Shows names, never values.
    support: full
"""

EXAMPLES = r"""
- name: Give the web server its token
  landbridge_podman_secret:
    secrets: "{{ [{'name': 'web-token', 'value': vault_web_token}] | to_json }}"
"""

RETURN = r"""
renewed:
  description: C(user/name) of the secrets that were, or in check mode would be, made.
  returned: always
  type: list
  elements: str
  sample: [root/web-token]
removed:
  description: C(user/name) of those that were, or would be, removed.
  returned: always
  type: list
  elements: str
  sample: []
"""

import hashlib
import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import (
    STATE,
    CommandError,
    account_of,
    can_ask,
    read_record,
    run,
    write_record,
)

RECORD = STATE / "secrets.json"
# PBKDF2 with SHA-256 is within FIPS, as scrypt is not.
ROUNDS = 200_000


def hashed(value, salt):
    """What is kept of a value."""
    return hashlib.pbkdf2_hmac("sha256", value.encode(), bytes.fromhex(salt), ROUNDS).hex()


def present(account):
    """Id by name of the user's secrets."""
    said = run(["podman", "secret", "ls", "--format", "{{.Name}} {{.ID}}"], account)
    return dict(line.split() for line in said.splitlines())


def is_current(known, value, identity):
    """Whether what Podman has is what we gave it, and that is the value."""
    if not known or known["id"] != identity:
        return False
    return known["hash"] == hashed(value, known["salt"])


def create(name, value, account, replaced):
    """Make a secret; returns what is recorded of it."""
    if replaced:
        run(["podman", "secret", "rm", name], account)
    identity = run(["podman", "secret", "create", name, "-"], account, stdin=value).strip()
    salt = os.urandom(16).hex()
    return {"id": identity, "salt": salt, "hash": hashed(value, salt)}


def converge_user(user, wanted, record, check_mode):
    """Make one user's secrets as wanted; returns (names made, names removed)."""
    known = record.get(user, {})
    account = account_of(user)
    there = present(account) if can_ask(account) else {}
    if not can_ask(account) and not check_mode:
        raise CommandError(f"{user}: Podman is not installed or the user's manager does not run")
    made = [
        name
        for name, value in wanted.items()
        if not is_current(known.get(name), value, there.get(name))
    ]
    gone = [name for name in known if name not in wanted]
    if not check_mode:
        for name in made:
            known[name] = create(name, wanted[name], account, name in there)
            save(record, user, known)
        for name in gone:
            if name in there:
                run(["podman", "secret", "rm", name], account)
            del known[name]
            save(record, user, known)
    return made, gone


def save(record, user, known):
    """Write down what has been done so far."""
    record[user] = known
    write_record(RECORD, {owner: names for owner, names in record.items() if names})


def converge(secrets, check_mode):
    """Make all users' secrets as wanted; returns (made, removed) as user/name."""
    wanted = {}
    for each in secrets:
        wanted.setdefault(each.get("user", "root"), {})[each["name"]] = str(each["value"])
    record = read_record(RECORD)
    made, removed = [], []
    for user in sorted({*wanted, *record}):
        if user not in wanted and is_gone(user):
            removed += [f"{user}/{name}" for name in record[user]]
            if not check_mode:
                save(record, user, {})
            continue
        new, gone = converge_user(user, wanted.get(user, {}), record, check_mode)
        made += [f"{user}/{name}" for name in new]
        removed += [f"{user}/{name}" for name in gone]
    return made, removed


def is_gone(user):
    """Whether the user, and so the user's secrets, are no more."""
    try:
        return not can_ask(account_of(user))
    except CommandError:
        return True


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"secrets": {"type": "str", "required": True, "no_log": True}},
        supports_check_mode=True,
    )
    try:
        made, removed = converge(json.loads(module.params["secrets"]), module.check_mode)
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"podman_secrets: {error}")
    diff = {
        "before": "".join(f"{name}\n" for name in removed),
        "after": "".join(f"{name} (new value)\n" for name in made),
        "before_header": "secrets",
        "after_header": "secrets",
    }
    module.exit_json(changed=bool(made or removed), renewed=made, removed=removed, diff=diff)


if __name__ == "__main__":
    main()
