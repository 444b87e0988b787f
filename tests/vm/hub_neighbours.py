"""Two users with a server each; a notebook of the first allocates more than its server may have.

Run on the node as root by the Python of environment `jupyterhub`, beside hub_session.py of the host
checks. Arguments: the hub's settings as JSON, the greedy user, the neighbour, a kernel, bytes to
allocate. Prints what was seen; the caller judges it.
"""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import hub_session

# A machine under emulation takes twenty times as long.
hub_session.START_SECONDS = hub_session.CELL_SECONDS = PATIENCE = 900


def log_in(settings, user):
    """A browser in which the user has logged in."""
    browser = hub_session.Browser(settings["bind_url"], None)
    told = browser.login(user, f"{user}'s own")
    return browser, told


def server_of(settings, browser, user):
    """Start the user's server, and a way to speak to it."""
    error = hub_session.wait_for_server(browser, user)
    if error:
        raise SystemExit(f"{user}: {error}")
    _, answer = browser.api("POST", f"/users/{user}/tokens", {"expires_in": 7200})
    return hub_session.Server(settings["bind_url"], user, answer["token"], None)


def run(server, kernel, source):
    """Output and status of a cell."""
    return asyncio.run(asyncio.wait_for(server.execute(kernel, source), PATIENCE))


def group(user):
    """The control group of the user's server."""
    unit = f"jupyter-{user}-singleuser.service"
    command = ["systemctl", "show", "--value", "--property=ControlGroup", unit]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Path("/sys/fs/cgroup", shown.strip().lstrip("/"))


def limits(user):
    """What the kernel holds a server to, what it has killed, and in which contexts it runs."""
    folder = group(user)
    events = dict(line.split() for line in (folder / "memory.events").read_text().splitlines())
    processes = (folder / "cgroup.procs").read_text().split()
    return {
        "memory": (folder / "memory.max").read_text().strip(),
        "cpu": (folder / "cpu.max").read_text().strip(),
        "killed": int(events["oom_kill"]),
        "contexts": sorted({Path("/proc", p, "attr/current").read_text()[:-1] for p in processes}),
    }


def until_killed(user):
    """Wait until the kernel has killed something of the user's server."""
    deadline = time.monotonic() + PATIENCE
    while not limits(user)["killed"] and time.monotonic() < deadline:
        time.sleep(1)


def story(settings, greedy, neighbour, kernel, size):
    """Everything that was seen."""
    told = {"logins": {}}
    servers, kernels = {}, {}
    for user in (greedy, neighbour):
        browser, told["logins"][user] = log_in(settings, user)
        servers[user] = server_of(settings, browser, user)
        kernels[user] = servers[user].call("POST", "/kernels", {"name": kernel})["id"]
    told["before"] = {
        user: run(servers[user], kernels[user], "word = 'kept'; print(6 * 7 * 1001)")
        for user in servers
    }
    wish = f"print('begun', flush=True); hoard = b'x' * {size}"
    asyncio.run(servers[greedy].begin(kernels[greedy], wish))
    until_killed(greedy)
    told["limits"] = {user: limits(user) for user in servers}
    told["neighbour"] = run(servers[neighbour], kernels[neighbour], "print(word)")
    # Jupyter starts a new kernel in the place of one that was killed.
    told["greedy"] = run(servers[greedy], kernels[greedy], "print('word' in globals())")
    return told


if __name__ == "__main__":
    print(json.dumps(story(json.loads(sys.argv[1]), *sys.argv[2:])))
