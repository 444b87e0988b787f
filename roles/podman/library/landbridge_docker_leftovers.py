#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""What Docker leaves in the kernel: bridges, and rules that would drop Podman's packets."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_docker_leftovers
short_description: Remove the bridges and packet filter rules of a Docker that has gone
description:
  - Docker leaves them behind when it ends. Its policy DROP of chain FORWARD would keep everybody
    outside from Podman's published ports, its bridges keep their addresses from Podman's networks.
  - Removes chains whose names begin with C(DOCKER), what leads into them, and rules about Docker's
    bridges, C(DOCKER-USER) with what is in it included; then the bridges. A bridge to which
    something is connected stays, with its rules.
  - The policy of FORWARD becomes ACCEPT where Docker's rules were in it and nobody's but Podman's
    remain; else it stays, and C(policy) says so.
  - The same would be gone after a reboot. Nothing is changed where there is nothing of Docker's.
options:
  bridges:
    description: Names of Docker's bridges, besides those that nobody but Docker would give.
    type: list
    elements: str
    default: []
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Shows what would go.
    support: full
  diff_mode:
    description: Shows the rules and bridges that go.
    support: full
"""

EXAMPLES = r"""
- name: Clear what Docker has left in the kernel
  landbridge_docker_leftovers:
    bridges: [br-0123456789ab]
"""

RETURN = r"""
bridges:
  description: Names of the bridges that went.
  returned: always
  type: list
  elements: str
  sample: [docker0]
user_rules:
  description: Rules of chain DOCKER-USER that went, other than Docker's own.
  returned: always
  type: list
  elements: str
  sample: ["-A DOCKER-USER -s 192.0.2.0/24 -j DROP"]
policy:
  description: C(ACCEPT) where the policy of FORWARD was changed, C(DROP) where it had to stay.
  returned: always
  type: str
  sample: ACCEPT
"""

import re
import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

FAMILIES = ("iptables", "ip6tables")
# Tables of an engine that is told to use nftables itself.
NFT_TABLES = ("ip docker-bridges", "ip6 docker-bridges")
USER = "DOCKER-USER"
_INTERFACE = re.compile(r"(?:^| )-[io] (\S+)")
_OF_PODMAN = re.compile(r" -j (?:NETAVARK|CNI-)\S*")
_OF_DOCKER = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
LINKS = Path("/sys/class/net")


class CommandError(Exception):
    """A command failed; the text says which and why."""


class Table:
    """One table as iptables-save prints it: policies or `-` by chain, and rules."""

    def __init__(self, name, lines):
        self.name = name
        self.chains = dict(line[1:].split()[:2] for line in lines if line.startswith(":"))
        self.rules = [line for line in lines if line.startswith("-A ")]

    def dockers(self):
        """Names of Docker's chains."""
        return [chain for chain in self.chains if chain.split("-")[0] == "DOCKER"]

    def doomed(self, bridges):
        """Rules of other chains that lead into Docker's or are about its bridges."""
        chains = set(self.dockers())
        return [
            rule
            for rule in self.rules
            if chain_of(rule) not in chains
            and (goal(rule) in chains or bridges & set(_INTERFACE.findall(rule)))
        ]

    def opened(self, doomed):
        """What becomes of FORWARD's policy: nothing, ACCEPT, or DROP where others need it."""
        if self.chains.get("FORWARD") != "DROP" or not any(
            goal(r) in self.dockers() for r in doomed
        ):
            return ""
        rest = [r for r in self.rules if chain_of(r) == "FORWARD" and r not in doomed]
        return "ACCEPT" if all(_OF_PODMAN.search(rule) for rule in rest) else "DROP"

    def script(self, doomed, policy):
        """Input for iptables-restore --noflush; empty where nothing is Docker's."""
        chains = self.dockers()
        if not chains and not doomed:
            return ""
        lines = [f"*{self.name}"]
        lines += [":FORWARD ACCEPT"] if policy == "ACCEPT" else []
        lines += ["-D" + rule.removeprefix("-A") for rule in doomed]
        lines += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
        return "\n".join([*lines, "COMMIT", ""])


def dockers_bridges(known, busy):
    """Docker's bridges; those that something is connected to only where Docker is still to end."""
    links = [link for link in LINKS.iterdir() if (link / "bridge").is_dir()]
    dockers = [link for link in links if link.name in known or _OF_DOCKER.fullmatch(link.name)]
    return {link.name for link in dockers if busy or not any((link / "brif").iterdir())}


def chain_of(rule):
    return rule.split()[1]


def goal(rule):
    """The chain that a rule leads to."""
    found = re.search(r" -[jg] (\S+)", rule)
    return found[1] if found else ""


def tables(text):
    """The tables of iptables-save's output."""
    parts = re.split(r"^\*", text, flags=re.MULTILINE)[1:]
    return [Table(part.split("\n", 1)[0].strip(), part.splitlines()[1:]) for part in parts]


class Cleaner:
    """Finds what is Docker's, and removes it."""

    def __init__(self, module):
        self.module = module
        self.policy, self.user_rules, self.gone = "", [], []

    def run(self, *argv, data=None):
        code, out, error = self.module.run_command(
            [*argv], data=data, binary_data=False, environ_update={"LC_ALL": "C.UTF-8"}
        )
        if code:
            raise CommandError(f"{' '.join(argv)}: {error.strip()}")
        return out

    def clean(self, known):
        """Everything, in an order in which an interruption leaves what the next run finds."""
        saved = {
            family: tables(self.run(f"{family}-save"))
            for family in FAMILIES
            if shutil.which(f"{family}-save")
        }
        bridges = dockers_bridges(known, busy=self.module.check_mode)
        for family, found in saved.items():
            self._rules(family, found, bridges)
        self._nft()
        for name in sorted(bridges):
            self._do(f"bridge {name}", "ip", "link", "delete", name)
        return sorted(bridges)

    def _rules(self, family, found, bridges):
        script = ""
        for table in found:
            doomed = table.doomed(bridges)
            policy = table.opened(doomed)
            self.policy = policy or self.policy
            script += table.script(doomed, policy)
            self.user_rules += [
                rule
                for rule in table.rules
                if chain_of(rule) == USER and rule != f"-A {USER} -j RETURN"
            ]
        if script:
            self._do(script, f"{family}-restore", "--noflush", "--wait", data=script)

    def _nft(self):
        listed = self.run("nft", "list", "tables") if shutil.which("nft") else ""
        for table in NFT_TABLES:
            if f"table {table}" in listed.splitlines():
                self._do(f"nftables {table}", "nft", "delete", "table", *table.split())

    def _do(self, what, *argv, data=None):
        self.gone.append(what.strip())
        if not self.module.check_mode:
            self.run(*argv, data=data)


def main():
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={"bridges": {"type": "list", "elements": "str", "default": []}},
        supports_check_mode=True,
    )
    cleaner = Cleaner(module)
    try:
        bridges = cleaner.clean(module.params["bridges"])
    except (CommandError, OSError) as error:
        module.fail_json(msg=f"what Docker has left in the kernel: {error}")
    module.exit_json(
        changed=bool(cleaner.gone),
        bridges=bridges,
        user_rules=cleaner.user_rules,
        policy=cleaner.policy,
        diff={"before": "".join(f"{what}\n" for what in cleaner.gone), "after": ""},
    )


if __name__ == "__main__":
    main()
