"""`python -m tests.lab demo`: the whole story, a line for each step, and where to look."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from landbridge.errors import NodeError
from tests.lab import bundle, inventory, nodes, paths

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LAB = [sys.executable, "-m", "tests.lab"]
# One node is converged over SSH from the checkout, the other converges itself: both ways run.
OVER_SSH, BY_ITSELF = ("demo-el9", "el9"), ("demo-el10", "el10")
TAIL_LINES = 40
NOTHING = Path(os.devnull)


@dataclass
class Story:
    """What has been done so far: seconds of each stage, and the folder of its logs."""

    logs: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Print that a stage begins and ends, and keep its seconds."""
        number = len(self.seconds) + 1
        print(f"[{number}] {title} ...", flush=True)
        start = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - start
        print(f"[{number}] {title}: {self.seconds[title]:.1f} s", flush=True)

    def run(self, log: str, *command: str | Path, stdin: Path = NOTHING) -> str:
        """Run a command, keep what it says in log files, and return its standard output."""
        words = [str(word) for word in command]
        out, errors = self.logs / f"{log}.out", self.logs / f"{log}.log"
        with out.open("w") as stdout, errors.open("w") as stderr, stdin.open("rb") as given:
            done = subprocess.run(
                words, cwd=ROOT, stdin=given, stdout=stdout, stderr=stderr, check=False
            )
        text = out.read_text(errors="replace")
        if done.returncode:
            said = (text + errors.read_text(errors="replace")).splitlines()
            tail = "\n".join(said[-TAIL_LINES:])
            raise NodeError(
                f"{' '.join(words)} ended with {done.returncode}:\n{tail}", f"see {out}"
            )
        return text

    def on(self, node: str, log: str, *command: str, stdin: Path = NOTHING) -> str:
        """Run a command on a node as root."""
        return self.run(log, *LAB, "node", "exec", node, "--", *command, stdin=stdin)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `demo`."""
    parser = subparsers.add_parser("demo", help="run the whole story and leave the nodes up")
    parser.set_defaults(run=lambda _: demo())


def demo() -> int:
    """Run the story.

    Returns:
        0 when every step succeeded and no packet left a node.

    Raises:
        LandbridgeError: a step failed; its last lines and its log are named.
    """
    logs = paths.cache() / "demo"
    logs.mkdir(exist_ok=True)
    story = Story(logs)
    with story.stage("lab upstreams (RPM, conda, CRAN, images) and node images"):
        story.run("build", *LAB, "build")
        story.run("upstreams", *LAB, "upstreams", "build")
    with story.stage("landbridge bundle build stacks/standard.yml, signed"):
        directory = bundle.build()
    with story.stage("landbridge bundle verify"):
        key = bundle.public_key()
        story.run("bundle-verify", BIN / "landbridge", "bundle", "verify", directory, "--key", key)
    with story.stage("boot an EL9-like and an EL10-like node with no route out"):
        for name, platform in (OVER_SSH, BY_ITSELF):
            story.run(
                f"{name}-create",
                *(*LAB, "node", "create", name, platform, "--bundle", directory),
            )
    for name, _ in (OVER_SSH, BY_ITSELF):
        with story.stage(f"bootstrap.sh on {name}"):
            command = (f"{nodes.BUNDLE_MOUNT}/bootstrap.sh", "--trust-key", "-")
            story.on(name, f"{name}-bootstrap", *command, stdin=key)
    hosts = inventory.write(logs / "inventory.yml", [OVER_SSH[0]])
    converge(story, hosts)
    verify(story, hosts)
    return tell(story, directory)


def converge(story: Story, hosts: Path) -> None:
    """Converge one node over SSH and one by itself, each twice: the second run changes nothing."""
    over_ssh = (BIN / "ansible-playbook", "-i", hosts, "site.yml")
    by_itself = ("sh", "-c", "cd / && landbridge apply")
    with story.stage(f"ansible-playbook site.yml over SSH to {OVER_SSH[0]}"):
        story.run(f"{OVER_SSH[0]}-converge", *over_ssh)
    with story.stage(f"landbridge apply on {BY_ITSELF[0]} itself"):
        story.on(BY_ITSELF[0], f"{BY_ITSELF[0]}-converge", *by_itself)
    with story.stage(f"again over SSH to {OVER_SSH[0]}: changes nothing"):
        recap = story.run(f"{OVER_SSH[0]}-again", *over_ssh)
        if "changed=0 " not in recap:
            raise NodeError(f"the second run changed {OVER_SSH[0]}", f"see {story.logs}")


def verify(story: Story, hosts: Path) -> None:
    """Run every host check, from outside on one node and on the other itself."""
    landbridge = BIN / "landbridge"
    with story.stage(f"landbridge verify of {OVER_SSH[0]} over SSH"):
        junit = story.logs / f"{OVER_SSH[0]}.junit.xml"
        table = story.run("verify-ssh", landbridge, "verify", "-i", hosts, "--junit", junit)
        print(table)
    with story.stage(f"landbridge verify on {BY_ITSELF[0]} itself"):
        print(story.on(BY_ITSELF[0], "verify-local", "landbridge", "verify"))


def tell(story: Story, directory: Path) -> int:
    """Print the figures and where to look."""
    names = [OVER_SSH[0], BY_ITSELF[0]]
    packets = {node: int(story.run("packets", *LAB, "node", "packets", node)) for node in names}
    print("\nseconds per stage:")
    for title, seconds in story.seconds.items():
        print(f"  {seconds:7.1f}  {title}")
    print(f"\npackets towards outside: {json.dumps(packets)}")
    ssh = f"ssh -F {inventory.write_ssh_config(story.logs / 'ssh_config', names)}"
    print(f"hub:    {ssh} -L 8000:127.0.0.1:8000 {names[0]}   then http://127.0.0.1:8000")
    print(f"shell:  {ssh} {names[1]}")
    print(f"report: {story.logs} (logs, JUnit)   bundle: {directory}")
    print("tear down: make clean-lab")
    return 0 if not any(packets.values()) else 1
