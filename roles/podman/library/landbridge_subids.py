#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Subordinate user and group ids for rootless containers."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_subids
short_description: Give users ranges of subordinate ids in /etc/subuid and /etc/subgid
description:
  - Each user who has no range of at least 65536 ids gets one that no other user has and in which
    no user's or group's id lies that NSS enumerates.
  - C(useradd -r) and directory services give none, and rootless containers need one.
  - Writes the files itself, because usermod wants to be told a free range; holds the locks
    under which useradd and its kin write them.
  - Where C(subid:) in C(/etc/nsswitch.conf) names another source than the files, nobody reads
    them. The source is asked instead, and a user whom it gives no range is named in the failure.
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
source:
  description: Where ranges come from, C(files) or another word of C(subid:) in nsswitch.conf.
  returned: always
  type: str
  sample: files
"""

import grp
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

SIZE = 65536
# The highest number is no id.
END = 2**32 - 1
FILES = (Path("/etc/subuid"), Path("/etc/subgid"))
NSSWITCH = Path("/etc/nsswitch.conf")
# As long as useradd waits.
PATIENCE = 15

Range = namedtuple("Range", "owner first end place")


class SubidError(Exception):
    """What an administrator has to mend first."""


def parse(path, text):
    """The ranges of a file; SubidError names a line that is none."""
    ranges = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        owner, *numbers = line.split(":")
        if not owner or len(numbers) != 2 or not all(n.isdecimal() for n in numbers):
            raise SubidError(f"{path} line {number}: '{line}' is not OWNER:FIRST:COUNT; mend it")
        first, count = map(int, numbers)
        if first + count > END:
            raise SubidError(f"{path} line {number}: '{line}' goes beyond the last id; mend it")
        ranges.append(Range(owner, first, first + count, f"{path} line {number} ({line})"))
    return ranges


def owns(account, found):
    """Whether a range is the account's; a line may name the user or the user's id."""
    return found.owner in (account.pw_name, str(account.pw_uid))


def clash(ranges, accounts):
    """SubidError where a range of one of the accounts is another's too, or is there twice."""
    names = {a.pw_name for a in accounts} | {str(a.pw_uid) for a in accounts}
    last = None
    for found in sorted(ranges, key=lambda r: (r.first, r.end)):
        if last and found.first < last.end and names & {found.owner, last.owner}:
            raise SubidError(
                f"{last.place} and {found.place} overlap, so that one's containers could write "
                "the other's files, or newuidmap refuses both; keep one of the lines"
            )
        if last is None or found.end > last.end:
            last = found


def missing(ranges, accounts):
    """Names of those without a large enough range."""
    return {
        a.pw_name
        for a in accounts
        if not any(owns(a, found) and found.end - found.first >= SIZE for found in ranges)
    }


def free(taken, first):
    """The first id from `first` on with SIZE free ones; `taken` are sorted (first, end)."""
    for low, end in taken:
        if low >= first + SIZE:
            break
        first = max(first, end)
    if first + SIZE > END:
        raise SubidError(
            f"no {SIZE} subordinate ids are free between podman_subid_first and 2^32: lower it, or "
            "remove lines of users who are gone from /etc/subuid and /etc/subgid"
        )
    return first


def known_ids():
    """Ids in use, as far as NSS enumerates them."""
    return {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}


def allocate(texts, accounts, first):
    """The files' new contents by path.

    A user gets the same new range in both files, free in both.
    """
    ranges = {path: parse(path, text) for path, text in texts.items()}
    for each in ranges.values():
        clash(each, accounts)
    lacking = {path: missing(each, accounts) for path, each in ranges.items()}
    if not any(lacking.values()):
        return texts
    taken = [(found.first, found.end) for each in ranges.values() for found in each]
    taken += [(i, i + 1) for i in known_ids() | {a.pw_uid for a in accounts}]
    results = {path: text.rstrip("\n") + "\n" if text else "" for path, text in texts.items()}
    for account in accounts:
        paths = [path for path, names in lacking.items() if account.pw_name in names]
        if not paths:
            continue
        taken.sort()
        start = free(taken, first)
        taken.append((start, start + SIZE))
        for path in paths:
            results[path] += f"{account.pw_name}:{start}:{SIZE}\n"
    # A file that lacks nothing stays as it is, to the byte.
    return {path: results[path] if lacking[path] else text for path, text in texts.items()}


def source():
    """Where libsubid, and with it Podman, looks for ranges: it takes the first word alone."""
    text = NSSWITCH.read_text(encoding="utf-8") if NSSWITCH.exists() else ""
    for line in text.splitlines():
        key, _colon, value = line.split("#")[0].partition(":")
        if key.strip().lower() == "subid" and value.split():
            return value.split()[0]
    return "files"


def sizes(name, *option):
    """How many ids each range of a user has; getsubids fails for a user without any."""
    done = subprocess.run(
        ["getsubids", *option, name], capture_output=True, encoding="utf-8", check=False
    )
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return [int(line.split()[-1]) for line in lines]


def require_given(accounts, origin):
    """SubidError names the users to whom the source gives too few ids."""
    lacking = [
        a.pw_name
        for a in accounts
        if any(max(sizes(a.pw_name, *option), default=0) < SIZE for option in ([], ["-g"]))
    ]
    if lacking:
        raise SubidError(
            f"subid in {NSSWITCH} is {origin}, so /etc/subuid and /etc/subgid are not read, and "
            f"{origin} gives no {SIZE} subordinate ids to: {', '.join(lacking)}. In FreeIPA run "
            "`ipa subid-generate --owner=USER` for each; where the directory has no such ids, "
            "`authselect disable-feature with-subid` on the node, and ranges come from the files"
        )


def holder(lock):
    """Process that holds a lock of shadow's; None for one that has ended."""
    try:
        pid = int(lock.read_text(encoding="ascii").strip("\0\n "))
        os.kill(pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        return None
    except ValueError:
        return 0  # nobody knows whose
    return pid


@contextmanager
def locked(path):
    """Keep useradd and its kin from a file, as they do: FILE.lock links to a file with our id."""
    lock, mine = (path.with_name(f"{path.name}.{end}") for end in ("lock", os.getpid()))
    mine.write_text(str(os.getpid()), encoding="ascii")
    try:
        for _second in range(PATIENCE + 1):
            try:
                os.link(mine, lock)
                break
            except FileExistsError:
                if holder(lock) is None:
                    lock.unlink(missing_ok=True)
                else:
                    time.sleep(1)
        else:
            raise SubidError(f"{lock} is held by process {holder(lock)}; try again when it ended")
    finally:
        mine.unlink()
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def read():
    """Text by path, empty where there is no file."""
    return {p: p.read_text(encoding="utf-8") if p.exists() else "" for p in FILES}


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


def give(module, accounts):
    """Write ranges for those who lack one; returns the files' old and new contents."""
    before = read()
    after = allocate(before, accounts, module.params["first"])
    if before == after or module.check_mode:
        return before, after
    with locked(FILES[0]), locked(FILES[1]):
        before = read()
        after = allocate(before, accounts, module.params["first"])
        for path, text in after.items():
            if before[path] != text:
                write(module, path, text)
    return before, after


def ask(module, accounts, origin):
    """Require that a source other than the files has ranges for all."""
    if shutil.which("getsubids"):
        require_given(accounts, origin)
    elif module.check_mode:
        module.warn(f"before shadow-utils-subid is installed nobody can ask {origin} for ranges")
    else:
        raise SubidError("getsubids is missing; install shadow-utils-subid")


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "users": {"type": "list", "elements": "str", "required": True},
            "first": {"type": "int", "default": 524288},
        },
        supports_check_mode=True,
    )
    accounts = []
    for name in module.params["users"]:
        try:
            accounts.append(pwd.getpwnam(name))
        except KeyError:
            module.fail_json(msg=f"user {name} does not exist; create it first")
    origin = source()
    before = after = {}
    try:
        if origin == "files":
            before, after = give(module, accounts)
        else:
            ask(module, accounts, origin)
    except SubidError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=before != after,
        uids={account.pw_name: account.pw_uid for account in accounts},
        source=origin,
        diff=[
            {"before": text, "after": after[p], "before_header": str(p), "after_header": str(p)}
            for p, text in before.items()
        ],
    )


if __name__ == "__main__":
    main()
