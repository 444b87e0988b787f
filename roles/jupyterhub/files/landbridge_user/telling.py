"""Notices for users: how long idle servers live, a home that fills up."""

import os
import re
import shutil
import subprocess

QUOTA_SECONDS = 5
# Filesystem, blocks with a star where they are too many, soft and hard limit.
QUOTA = re.compile(r"^\s*(/\S*)\s+(\d+)\*?\s+(\d+)\s+(\d+)\s")


def notices(values, used):
    """What there is to say, the most lasting first.

    Args:
        values: the node's.
        used: percent of the home's space, and what it is a part of.
    """
    said = []
    if idle := values["cull_idle_seconds"]:
        said.append(
            f"A server that nobody uses for {duration(idle)} is stopped: no page of it on a"
            " screen, no kernel at work."
        )
    if kernel := values["cull_kernel_seconds"]:
        said.append(
            f"A kernel that no page shows is shut down after {duration(kernel)} without work."
        )
    if age := values["cull_max_age_seconds"]:
        said.append(f"Every server is stopped {duration(age)} after its start, also at work.")
    percent, what = used
    if percent >= values["home_percent"]:
        said.append(f"{what} is {percent} % full. Delete what you do not need.")
    return said


def duration(seconds):
    """A time in words, in the largest unit that it is a number of."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"


def use_of(home):
    """How full a home is, in percent, and what is: the user's quota, or the filesystem."""
    told = os.statvfs(home)
    taken = told.f_blocks - told.f_bfree
    percent = taken * 100 // ((taken + told.f_bavail) or 1)
    return max([(percent, "The filesystem of your home"), *quotas()])


def quotas():
    """The user's quotas, as the command `quota` tells them, where the node has it."""
    if not shutil.which("quota"):
        return []
    command = ["quota", "--no-wrap", "--raw-grace", "--show-mntpoint", "--hide-device"]
    try:
        # It fails where a quota is exceeded, and tells it all the same.
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=QUOTA_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return []
    return parse_quotas(done.stdout)


def parse_quotas(printed):
    """Percent of each quota on disk space; the soft limit counts where there is one."""
    rows = [match.groups() for match in map(QUOTA.match, printed.splitlines()) if match]
    limits = [(place, int(blocks), int(soft) or int(hard)) for place, blocks, soft, hard in rows]
    return [
        (blocks * 100 // limit, f"Your quota on {place}")
        for place, blocks, limit in limits
        if limit
    ]
