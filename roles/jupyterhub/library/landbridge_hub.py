#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Who uses the hub, and the hub closed for maintenance."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_hub
short_description: List a hub's users and servers, close the hub for maintenance, open it
description:
  - Asks the hub on this node by its API; the token never leaves the node.
  - A closed hub starts no servers and tells users why. Whoever has a server keeps it until it is
    stopped.
options:
  state:
    description:
      - C(listed) only looks. C(drained) closes the hub and stops servers. C(open) opens it.
    type: str
    choices: [listed, drained, open]
    default: listed
  message:
    description: What users are told while the hub is closed; empty for the hub's own words.
    type: str
    default: ""
  stop:
    description:
      - Which servers are stopped, C(idle) ones as they come to be, or C(all) at once.
      - A server with a busy kernel is not idle.
    type: str
    choices: [idle, all]
    default: idle
  wait:
    description: Seconds to wait for servers to become idle.
    type: int
    default: 0
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Says what would be stopped, without waiting.
    support: full
  diff_mode:
    description: Shows whether the hub is open.
    support: full
"""

EXAMPLES = r"""
- name: Close the hub, and give everybody an hour
  landbridge_hub:
    state: drained
    message: Maintenance until noon.
    wait: 3600
"""

RETURN = r"""
hub:
  description: What is there at the end; none where the node has no hub.
  returned: always
  type: dict
  sample: {closed: null, users: [], stopped: []}
"""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

SETTINGS = Path("/etc/landbridge/jupyterhub/values.json")
PAGE = 200
# Servers tell the hub every 300 s what they do; a busy kernel counts as just used.
IDLE_SECONDS = 600
POLL_SECONDS = 5
STOP_SECONDS = 60
# Servers that are told to stop while others end.
AT_ONCE = 8
UNKNOWN = ("", "[not set]", str(2**64 - 1))


class HubError(Exception):
    """The hub does not answer as it should."""


class Hub:
    """The hub of this node."""

    def __init__(self, settings):
        self.api = f"http://127.0.0.1:{settings['hub_port']}/hub/api"
        self.headers = {
            "Authorization": f"token {token_of(settings)}",
            "Accept": "application/jupyterhub-pagination+json",
        }
        self.drained = Path(settings["state"], "drained")
        # It is on this node: a proxy of the environment has no part in it.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, method, path):
        """The hub's answer; None where it has none."""
        url = self.api + path
        request = urllib.request.Request(url, method=method, headers=self.headers)  # noqa: S310
        try:
            with self.opener.open(request, timeout=30) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            raise HubError(f"{method} {path}: the hub answers {error.code}") from error
        except OSError as error:
            raise HubError(f"the hub does not answer: {error}") from error

    def users(self):
        """Every user that the hub knows, with the servers that run."""
        found, offset = [], 0
        while True:
            answer = self.ask("GET", f"/users?limit={PAGE}&offset={offset}")
            found += answer["items"]
            following = answer["_pagination"]["next"]
            if not following:
                return [user_of(model) for model in found]
            offset = following["offset"]

    def stop(self, user, server):
        """Ask that a server stops; one that has stopped meanwhile is no error."""
        path = f"/users/{urllib.parse.quote(user, safe='')}/server"
        if server:
            path += f"s/{urllib.parse.quote(server, safe='')}"
        try:
            self.ask("DELETE", path)
        except HubError:
            if (user, server) in running(self.users()):
                raise

    def closed(self):
        """What users are told while it is closed; None while it is open."""
        try:
            return self.drained.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def close(self, message):
        """Start no servers from now on."""
        new = self.drained.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(f"{message}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.drained)


def token_of(settings):
    """The token for operations; a hub of an older release has none."""
    try:
        file = Path(settings["secrets"], "operations_token")
        return file.read_text(encoding="utf-8").strip()
    except (KeyError, FileNotFoundError) as error:
        raise HubError(
            "it was set up by an older release and has no token for operations; converge it first: "
            "landbridge apply --tags preflight,jupyterhub"
        ) from error


def user_of(model):
    """A user, as far as operations care."""
    return {
        "name": model["name"],
        "admin": bool(model.get("admin")),
        "last_activity": model.get("last_activity"),
        "servers": [
            {
                "name": name,
                "started": server.get("started"),
                "last_activity": server.get("last_activity"),
                "profile": (server.get("user_options") or {}).get("profile"),
                "unit": unit_of(server),
            }
            for name, server in sorted((model.get("servers") or {}).items())
        ],
    }


def unit_of(server):
    """The unit that a server is; None while it starts."""
    name = (server.get("state") or {}).get("unit_name")
    return f"{name}.service" if name else None


def running(users):
    """User and name of each server."""
    return {(user["name"], server["name"]) for user in users for server in user["servers"]}


def idle(users):
    """User and name of each server that nobody has used for a while."""
    now = time.time()
    return {
        (user["name"], server["name"])
        for user in users
        for server in user["servers"]
        if server["last_activity"] and now - moment(server["last_activity"]) > IDLE_SECONDS
    }


def moment(text):
    """A time of the hub's, in seconds since 1970."""
    # EL9's Python does not know the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def drain(hub, stop, wait):
    """Stop servers until none is left or the time is over; returns those that were stopped."""
    deadline, stopped = time.monotonic() + wait, set()
    while True:
        users = hub.users()
        wanted = running(users) if stop == "all" else idle(users)
        stop_all(hub, wanted)
        stopped |= wanted
        if not running(hub.users()) or time.monotonic() >= deadline:
            return stopped
        time.sleep(POLL_SECONDS)


def stop_all(hub, servers):
    """Stop servers, and wait: they save what is open before they end.

    One that cannot be stopped keeps none of the others from it. The hub answers when a server has
    ended, or after ten seconds.
    """

    def fault(server):
        try:
            hub.stop(*server)
        except HubError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        faults = [said for said in pool.map(fault, sorted(servers)) if said]
    deadline = time.monotonic() + STOP_SECONDS
    while left := servers & running(hub.users()):
        if time.monotonic() > deadline:
            names = ", ".join(sorted("/".join(filter(None, server)) for server in left))
            after = f"still running {STOP_SECONDS} s after they were told to stop: {names}"
            raise HubError("; ".join([after, *faults]))
        time.sleep(1)


def usage(module, users):
    """Add what the servers' units use, in bytes and in seconds of a processor."""
    servers = [server for user in users for server in user["servers"]]
    units = [server["unit"] for server in servers if server["unit"]]
    known = {}
    if units:
        properties = "Id,MemoryCurrent,CPUUsageNSec"
        command = ["systemctl", "show", f"--property={properties}", *units]
        code, output, error = module.run_command(command)
        if code:
            raise HubError(f"systemctl show: {error.strip()}")
        for block in output.strip().split("\n\n"):
            values = dict(line.split("=", 1) for line in block.splitlines())
            known[values["Id"]] = values
    for server in servers:
        found = known.get(server["unit"], {})
        server["memory_bytes"] = number(found.get("MemoryCurrent", ""))
        nanoseconds = number(found.get("CPUUsageNSec", ""))
        server["cpu_seconds"] = None if nanoseconds is None else nanoseconds // 10**9


def number(text):
    """A number of systemd's; None where it keeps none."""
    return None if text in UNKNOWN else int(text)


def change(module, hub):
    """Do what is asked; returns the servers that were, or would be, stopped."""
    state, check = module.params["state"], module.check_mode
    if state == "open":
        if not check:
            hub.drained.unlink(missing_ok=True)
        return set()
    if check:
        users = hub.users()
        everything = module.params["stop"] == "all"
        return running(users) if everything else idle(users)
    hub.close(module.params["message"].strip())
    return drain(hub, module.params["stop"], module.params["wait"])


def ensure(module):
    """The module's answer."""
    state = module.params["state"]
    if not SETTINGS.exists():
        return {"changed": False, "hub": None}
    hub = Hub(json.loads(SETTINGS.read_text(encoding="utf-8")))
    before = hub.closed()
    stopped = set() if state == "listed" else change(module, hub)
    after = {"listed": before, "open": None, "drained": module.params["message"].strip()}[state]
    users = hub.users()
    usage(module, users)
    names = [{"user": user, "server": server} for user, server in sorted(stopped)]
    return {
        "changed": before != after or bool(stopped),
        "diff": {"before": said(before), "after": said(after)},
        "hub": {"closed": after, "users": users, "stopped": names},
    }


def said(closed):
    """A line for the diff."""
    return "open\n" if closed is None else f"closed: {closed}\n"


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["listed", "drained", "open"],
                "default": "listed",
            },
            "message": {"type": "str", "default": ""},
            "stop": {"type": "str", "choices": ["idle", "all"], "default": "idle"},
            "wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**ensure(module))
    except (HubError, OSError) as error:
        module.fail_json(msg=f"the hub of this node: {error}")


if __name__ == "__main__":
    main()
