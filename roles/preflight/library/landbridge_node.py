#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Look whether a machine can become a node, before an inventory names it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_node
short_description: Say what keeps a machine from being a node
description:
  - Reads the machine's platform, its init system, its clock and the free space where roles write.
  - Problems are an answer and no failure, so that a machine is told all of them at once.
  - Changes nothing, so it does the same work in check mode.
options:
  now:
    description: The controller's time, in UTC, as C(YYYY-MM-DDTHH:MM:SS).
    type: str
    required: true
  clock_seconds:
    description: How far the clocks may be apart.
    type: int
    default: 60
  free_mib:
    description: Free space wanted on each filesystem that roles write to, in MiB.
    type: int
    default: 5000
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Look at a machine
  landbridge_node:
    now: "{{ now(utc=true, fmt='%Y-%m-%dT%H:%M:%S') }}"
"""

RETURN = r"""
node:
  description: What was found, and what is wrong with it, each problem with its mend.
  returned: always
  type: dict
  sample:
    release: Red Hat Enterprise Linux 10.0
    python: "3.12"
    clock_seconds: 0
    free_mib: {"/opt": 20000}
    problems: [{"problem": "its clock is 3600 s ahead", "mend": "set it, for example with chrony"}]
"""

import calendar
import os
import platform
import re
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

EL_IDS = {"rhel", "rocky", "almalinux", "centos", "ol"}
MAJORS = {"9", "10"}
PYTHON = (3, 9)
OS_RELEASE = Path("/etc/os-release")
PROC = Path("/proc")
# Where environments, packages, containers and state go.
PLACES = ("/opt/landbridge", "/usr", "/var/lib")
STAMP = "%Y-%m-%dT%H:%M:%S"


def problem(what, mend):
    """One finding."""
    return {"problem": what, "mend": mend}


def look_at_platform():
    """The release's name, and what is wrong with platform, Python, init and rights."""
    text = OS_RELEASE.read_text(encoding="utf-8")
    system = dict(re.findall(r"^([A-Z_]+)=[\"']?(.*?)[\"']?$", text, flags=re.M))
    name, problems = system.get("PRETTY_NAME", "an unknown system"), []
    like = {system.get("ID"), *system.get("ID_LIKE", "").split()}
    if not EL_IDS & like or system.get("VERSION_ID", "").split(".")[0] not in MAJORS:
        what = f"it runs {name}, not Enterprise Linux 9 or 10"
        problems.append(problem(what, "use RHEL, Rocky Linux, AlmaLinux or CentOS Stream"))
    if tuple(map(int, platform.python_version_tuple()[:2])) < PYTHON:
        what = f"its Python is {platform.python_version()}, 3.9 is the oldest that roles run on"
        problems.append(problem(what, "set ansible_python_interpreter to a newer one"))
    if (PROC / "1/comm").read_text(encoding="utf-8").strip() != "systemd":
        problems.append(problem("systemd is not its PID 1", "boot it with systemd"))
    if os.geteuid() != 0:
        problems.append(problem("become does not lead to root", "remove ansible_become_user"))
    return name, problems


def look_at_clock(now, allowed):
    """Seconds that the clock is ahead of the controller's, and whether that is too much."""
    ahead = round(time.time()) - calendar.timegm(time.strptime(now, STAMP))
    if abs(ahead) <= allowed:
        return ahead, []
    side = "ahead of" if ahead > 0 else "behind"
    what = f"its clock is {abs(ahead)} s {side} this machine's, {allowed} s are allowed"
    return ahead, [problem(what, "set it, for example with chrony")]


def look_at_space(wanted):
    """MiB that are free by place, and where they are too few; each filesystem once."""
    free, problems, seen = {}, [], set()
    for place in map(Path, PLACES):
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        device = there.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        status = os.statvfs(there)
        free[str(there)] = mib = status.f_bavail * status.f_frsize >> 20
        if mib < wanted:
            what = f"{there} has {mib} MiB free, {wanted} are wanted"
            problems.append(problem(what, f"free or add {wanted - mib} MiB there"))
    return free, problems


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "now": {"type": "str", "required": True},
            "clock_seconds": {"type": "int", "default": 60},
            "free_mib": {"type": "int", "default": 5000},
        },
        supports_check_mode=True,
    )
    params = module.params
    release, problems = look_at_platform()
    ahead, wrong_clock = look_at_clock(params["now"], params["clock_seconds"])
    free, no_space = look_at_space(params["free_mib"])
    node = {
        "release": release,
        "python": ".".join(platform.python_version_tuple()[:2]),
        "clock_seconds": ahead,
        "free_mib": free,
        "problems": problems + wrong_clock + no_space,
    }
    module.exit_json(changed=False, node=node)


if __name__ == "__main__":
    main()
