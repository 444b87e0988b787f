"""What does a converge that changes nothing cost a controller for each node, pushed and pulled?

Usage: .venv/bin/python benchmarks/fleet.py [--sizes 1,5,20,50] [--ways WAY ...] [--json]
The nodes are light: copies of one that has converged without the long roles, with systemd, sshd and
a root of their own, on a network with a depot node. More than twenty do not fit (the kernel's limit
of inotify instances); further targets are other names of these, and do not pull. For each size: the
controller pushes over plain SSH, then with Mitogen; all nodes pull at once; dnf fetches an
installation's packages for all targets at once. They share this machine's processors with the
controller, so what tells is the processor's time, not the wall's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ansible_mitogen
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from landbridge import depot as depots  # noqa: E402
from landbridge.bundle import manifest  # noqa: E402
from tests.lab import bundle as lab_bundle  # noqa: E402
from tests.lab import inventory, nodes, paths, podman  # noqa: E402
from tests.lab.authority import authority  # noqa: E402

BIN = Path(sys.executable).parent
DEPOT, SEED = "bench-depot", "bench-seed"
NODES = 20
IMAGE = f"{podman.OWN}bench-fleet"
TAGS = "preflight,toolkit,repositories"
# What a node without packages and metadata asks the depot for. Two of them on one node would both
# bring rpm its keys.
INSTALL = """set -e; own=$(mktemp -d); unchecked=--setopt=landbridge.gpgcheck=0
dnf -qy $unchecked --setopt=cachedir=$own --downloaddir=$own install --downloadonly podman
rm -r $own"""
WAYS = ("push", "push, Mitogen", "pull", "dnf's packages")
CA, PEM = "/etc/pki/bench-ca.pem", "/etc/pki/bench.pem"
LOG = "/var/log/nginx/landbridge-depot.access.log"
# What all processes of a node have used, those that have ended included, in hundredths of seconds.
USED = "cat /proc/[0-9]*/stat | sed 's/.*) //' | awk '{t += $12 + $13 + $14 + $15} END {print t}'"
PLATFORM = "el10"


@dataclass(frozen=True)
class Cost:
    """Of one way, for so many nodes: seconds in all, and of the controller's processor each."""

    way: str
    nodes: int
    wall: float
    controller_cpu_each: float
    depot_cpu_each: float
    depot_requests_each: float
    depot_megabytes_each: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1,5,20,50", help="numbers of nodes")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="all if not given")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as hosts:
        costs = [cost for size in sizes for cost in measured(hosts, size, arguments.ways)]
    if arguments.json:
        print(json.dumps([asdict(cost) for cost in costs], indent=2))
        return
    base = next((cost for cost in costs if cost.controller_cpu_each), None)
    for cost in costs:
        over = f"{cost.controller_cpu_each / base.controller_cpu_each:.2f}" if base else "-"
        print(
            f"{cost.nodes:3} nodes, {cost.way:14}: {cost.wall:6.1f} s;"
            f" controller {cost.controller_cpu_each:5.2f} CPU s a node"
            f" ({over} of the first);"
            f" depot {cost.depot_cpu_each:.3f} CPU s, {cost.depot_requests_each:.0f} requests"
            f" ({cost.depot_requests_each * cost.nodes / cost.wall:.0f}/s),"
            f" {cost.depot_megabytes_each:.1f} MB a node"
        )


@contextmanager
def served(folder: Path) -> Iterator[dict[str, Any]]:
    """A depot node, and the image of a node that has converged from it; yields the variables."""
    held = paths.cache() / "bench-fleet"
    shutil.rmtree(held, ignore_errors=True)
    (held / "releases").mkdir(parents=True)
    bundle = lab_bundle.build()
    release = manifest.read_manifest(bundle)[0]
    subprocess.run(["cp", "-al", bundle, held / "releases" / release], check=True)
    depots.switch(held, release)
    try:
        nodes.create(DEPOT, PLATFORM, held)
        nodes.create(SEED, PLATFORM)
        trust = authority(folder)
        podman.run("cp", trust.issue(f"DNS:{DEPOT}"), f"{DEPOT}:{PEM}")
        podman.run("cp", trust.certificate, f"{SEED}:{CA}")
        yield seeded(folder)
    finally:
        nodes.destroy(DEPOT, SEED)
        podman.run("image", "rm", "--force", IMAGE, check=False)
        shutil.rmtree(held)


def seeded(folder: Path) -> dict[str, Any]:
    """Converge depot and node, and keep the node as an image."""
    file = inventory.write(folder / "hosts.yml", [DEPOT, SEED])
    content = yaml.safe_load(file.read_text())
    del content["all"]["vars"]["landbridge_depot"]
    served_from = {"depot_directory": nodes.BUNDLE_MOUNT, "depot_requests_per_second": 100_000}
    content["all"]["hosts"][DEPOT] |= served_from | {
        "landbridge_depot": f"{nodes.BUNDLE_MOUNT}/current",
        "depot_tls_certificate": PEM,
        "depot_tls_key": PEM,
        "depot_connections": 1000,
    }
    reader = {
        "landbridge_depot_url": f"https://{DEPOT}/landbridge",
        "landbridge_depot_ca": CA,
        "pull_enabled": True,
        "pull_tags": TAGS.split(","),
        "pull_report_url": "",
        # The clock must not begin what is to be measured.
        "pull_schedule": "*-01-01",
        "pull_splay": "0",
    }
    content["all"]["hosts"][SEED] |= reader
    content["all"]["children"] = {"depot": {"hosts": {DEPOT: None}}}
    file.write_text(yaml.safe_dump(content))
    apply(file, "--limit", DEPOT, "--tags", "preflight,repositories,depot")
    apply(file, "--limit", SEED, "--tags", f"{TAGS},pull")
    nodes.save(SEED, IMAGE)
    variables: dict[str, Any] = content["all"]["vars"] | reader
    return variables


def apply(file: Path, *words: str, environment: dict[str, str] | None = None) -> None:
    """Converge, which has to go well."""
    command = [str(BIN / "landbridge"), "apply", "--inventory", str(file), *words]
    done = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout[-4000:])


def measured(variables: dict[str, Any], size: int, ways: list[str]) -> list[Cost]:
    """Each of the ways, for so many nodes."""
    names = [f"bench-{number}" for number in range(min(size, NODES))]
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: nodes.create(name, PLATFORM, image=IMAGE), names))
        with tempfile.TemporaryDirectory() as folder:
            file = inventory.write(Path(folder, "hosts.yml"), names)
            content = yaml.safe_load(file.read_text())
            content["all"]["vars"] = variables
            hosts = content["all"]["hosts"]
            targets = [names[number % len(names)] for number in range(size)]
            content["all"]["hosts"] = {f"{n}-{name}": hosts[name] for n, name in enumerate(targets)}
            file.write_text(yaml.safe_dump(content))
            push = ("--tags", TAGS)
            acts = {
                "push": lambda: apply(file, *push),
                "push, Mitogen": lambda: mitogen(file, *push),
                "pull": lambda: everywhere(names, "landbridge pull"),
                "dnf's packages": lambda: everywhere(targets, INSTALL),
            }
            if targets != names:
                del acts["pull"]
            return [cost(way, size, act) for way, act in acts.items() if way in ways]
    finally:
        nodes.destroy(*names)


def mitogen(file: Path, *words: str) -> None:
    """Converge over Mitogen, as its own documentation says."""
    plugins = Path(ansible_mitogen.__file__).parent / "plugins" / "strategy"
    strategy = {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(plugins)}
    apply(file, *words, environment=strategy | {"ANSIBLE_HOST_KEY_CHECKING": "false"})


def everywhere(names: list[str], script: str) -> None:
    """Run a script on all nodes at once."""
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: podman.run("exec", name, "sh", "-c", script), names))


def cost(way: str, size: int, act: Any) -> Cost:
    """What it costs to act. Of a pull the controller's part is that it has none."""
    podman.run("exec", DEPOT, "truncate", "--size", "0", LOG)
    depot_before, before = depot_cpu(), children()
    began = time.perf_counter()
    act()
    wall = time.perf_counter() - began
    spent = children() - before if way.startswith("push") else 0.0
    lines = podman.run("exec", DEPOT, "cat", LOG).stdout.splitlines()
    sent = sum(json.loads(line)["bytes"] for line in lines)
    depot = depot_cpu() - depot_before
    found = Cost(
        way, size, wall, spent / size, depot / size, len(lines) / size, sent / size / 1_000_000
    )
    # All of them take an hour.
    print(found, file=sys.stderr, flush=True)
    return found


def children() -> float:
    """Seconds of the processor that ended child processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def depot_cpu() -> float:
    """The same of the depot node."""
    said = podman.run("exec", DEPOT, "sh", "-c", USED).stdout
    return float(said) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
