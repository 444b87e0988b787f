"""What does a class cost that logs in at once, against one user alone? On a lab node.

Usage: .venv/bin/python benchmarks/hub_load.py [--platform el9|el10] [--users N] [--json]
The node is booted for it and deleted at the end. One user comes, and leaves again; then all come at
once: each logs in by the form, through PAM, and starts a real server. Who comes sooner or later has
a shorter or longer wait (`jupyterhub_starts_at_once`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.lab import bundle as lab_bundle  # noqa: E402
from tests.lab import inventory, nodes, podman  # noqa: E402
from tests.lab.hub_users import HubUser, all_start  # noqa: E402
from tests.lab.platforms import PLATFORMS  # noqa: E402

BIN = Path(sys.executable).parent
NODE = "bench-hub"
TAGS = "preflight,toolkit,repositories,conda,jupyterhub"
MAKE_USERS = """
groupadd landbridge-users
for number in $(seq -w 0 %d); do
  useradd -m -G landbridge-users pupil$number
  echo "pupil$number:pupil$number's own"
done | chpasswd
"""
# Of the hub's process; of each server's, where what several share is divided among them.
HUB_TICKS = "awk '{print $14 + $15}' /proc/$(systemctl show --value -p MainPID landbridge-hub)/stat"
SERVERS = "pgrep -f '[j]upyterhub-singleuser' | sed 's|.*|/proc/&/smaps_rollup|'"
MEMORY = f"awk '/^Pss:/ {{print $2}}' $({SERVERS})"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Come:
    """So many users at once: seconds from the form to a server, and what the node spent."""

    users: int
    wall: float
    first: float
    median: float
    last: float
    megabytes_each: float
    hub_cpu_each: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", choices=list(PLATFORMS), default="el10")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    try:
        alone, together = measure(arguments.platform, arguments.users)
    finally:
        nodes.destroy(NODE)
    if arguments.json:
        print(json.dumps([asdict(alone), asdict(together)], indent=2))
        return
    for come in (alone, together):
        print(
            f"{come.users} users: all have a server after {come.wall:.1f} s"
            f" (first {come.first:.1f}, median {come.median:.1f});"
            f" {come.megabytes_each:.0f} MB a server,"
            f" {come.hub_cpu_each:.2f} CPU s of the hub a user"
        )
    print(
        f"ratios to one user alone: wall {together.wall / alone.wall:.1f} ({together.users} users),"
        f" memory of a server {together.megabytes_each / alone.megabytes_each:.2f},"
        f" the hub's CPU seconds a user {together.hub_cpu_each / alone.hub_cpu_each:.2f}"
    )


def measure(platform: str, users: int) -> tuple[Come, Come]:
    """One user alone, then all of them."""
    nodes.create(NODE, platform, lab_bundle.build())
    on_node(MAKE_USERS % (users - 1))
    width = len(str(users - 1))
    names = [f"pupil{number:0{width}}" for number in range(users)]
    with tempfile.TemporaryDirectory() as folder:
        hosts = inventory.write(Path(folder, "inventory.yml"), [NODE])
        run(BIN / "landbridge", "apply", "--inventory", hosts, "--tags", TAGS)
    with nodes.forwarded(NODE, 8000) as port:
        url = f"http://127.0.0.1:{port}"
        come(url, names[:1])  # the node reads its files from the disk once
        return come(url, names[:1]), come(url, names)


def come(url: str, names: list[str]) -> Come:
    """They come, and their servers are stopped again."""
    before, began = float(on_node(HUB_TICKS)), time.perf_counter()
    seconds = asyncio.run(all_start([HubUser(url, name, f"{name}'s own") for name in names]))
    wall = time.perf_counter() - began
    ticks = float(on_node(HUB_TICKS)) - before
    memory = statistics.mean(map(float, on_node(MEMORY).split())) / 1024
    on_node("systemctl stop 'jupyter-*'; sleep 35")  # the hub looks every 30 s
    spent = ticks / TICKS / len(names)
    middle = statistics.median(seconds)
    return Come(len(names), wall, min(seconds), middle, max(seconds), memory, spent)


def on_node(script: str) -> str:
    """Output of a script on the node."""
    return podman.run("exec", NODE, "sh", "-c", script).stdout


def run(*words: str | Path) -> None:
    """Run a command of the checkout; what it says is shown if it fails."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
