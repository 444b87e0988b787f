# SPDX-License-Identifier: Apache-2.0
"""Units of root's and of users' service managers, and the containers that they run."""

from __future__ import annotations

import json
import re

from ansible.module_utils.landbridge_podman import account_of, can_ask, run

PROPERTIES = ("Id", "ActiveState", "Result", "Type", "NeedDaemonReload", "UnitFileState")
LOG_LINES = 15
# What holds a pod together, of an image that Podman makes itself: twice, for two pods at once.
PAUSE = "localhost/podman-pause:"
# Podman's own record of what it did, with times of its own in front.
EVENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ .* m=\+")


def systemctl(account, *arguments):
    """Output of systemctl for the user's manager."""
    scope = [] if account.pw_uid == 0 else ["--user"]
    return run(["systemctl", *scope, *arguments], account)


def states(account, services):
    """Properties of units by name, as systemd knows them."""
    if not services or not can_ask(account):
        return {}
    shown = systemctl(account, "show", f"--property={','.join(PROPERTIES)}", "--", *services)
    blocks = [dict(line.split("=", 1) for line in b.splitlines()) for b in shown.split("\n\n")]
    return {block["Id"]: block for block in blocks if block}


def journal(account, service, since):
    """Last lines that a unit and its manager have logged since a time."""
    if account.pw_uid == 0:
        matches = [f"_SYSTEMD_UNIT={service}", "+", f"UNIT={service}"]
    else:
        own = f"_UID={account.pw_uid}"
        matches = [f"_SYSTEMD_USER_UNIT={service}", own, "+", f"USER_UNIT={service}", own]
    options = ["--quiet", "--no-pager", "--output=cat", f"--since=@{since}"]
    lines = run(["journalctl", *options, *matches], account_of("root")).splitlines()
    return "\n".join([line for line in lines if not EVENT.match(line)][-LOG_LINES:])


def image_ids(account):
    """Id by name of the images in the user's stores."""
    images = json.loads(run(["podman", "image", "ls", "--format", "json"], account))
    return {name: image["Id"] for image in images for name in image.get("Names") or []}


def outdated(account, images, policy=None):
    """Services with a container whose image's name has come to mean another image.

    Args:
        images: id by name.
        policy: only containers that are updated automatically in this way.
    """
    containers = json.loads(run(["podman", "ps", "--format", "json"], account) or "[]")
    found = set()
    for each in containers:
        labels = each.get("Labels") or {}
        service = labels.get("PODMAN_SYSTEMD_UNIT")
        asked = policy in (None, labels.get("io.containers.autoupdate"))
        if each["Image"].startswith(PAUSE):
            continue
        if asked and service and images.get(each["Image"], each["ImageID"]) != each["ImageID"]:
            found.add(service)
    return found
