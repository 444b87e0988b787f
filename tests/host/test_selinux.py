"""SELinux has denied nothing of ours since the node has booted.

What it denies to the site's own programs is not ours to judge. `make test-vm` is stricter: there
nothing may be denied that was not denied before the roles came.
"""

import re

import pytest

from landbridge.facts.node import Node

LOG = "/var/log/audit/audit.log"
# Files, programs and users of ours, as records name them.
OURS = re.compile(r"landbridge|jupyter|/srv/teams")


def records(node: Node) -> str:
    """What SELinux had to say, where auditd keeps it and else in the journal."""
    if node.run("test", "-f", LOG).rc == 0:
        # ausearch calls it a failure that there is none.
        search = ("ausearch", "--input-logs", "--message", "AVC", "--start", "boot", "--raw")
        found = node.run(*search)
        assert found.rc == 0 or "no matches" in found.stderr, found.stderr
        return str(found.stdout)
    return node.output("journalctl", "--boot", "--output=cat", "_TRANSPORT=audit")


@pytest.mark.usefixtures("selinux")
def test_selinux_has_denied_nothing_of_ours(node: Node) -> None:
    said = [line for line in records(node).splitlines() if OURS.search(line)]
    denials = [line for line in said if re.search(r"avc:\s+denied", line)]
    assert not denials, f"{len(denials)} denials since boot, the last:\n" + "\n".join(denials[-10:])
