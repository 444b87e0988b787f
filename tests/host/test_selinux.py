"""SELinux has denied nothing since the node has booted."""

import pytest

from landbridge.facts.node import Node

LOG = "/var/log/audit/audit.log"


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
def test_selinux_has_denied_nothing(node: Node) -> None:
    denials = [line for line in records(node).splitlines() if "avc:  denied" in line]
    assert not denials, f"{len(denials)} denials since boot, the last:\n" + "\n".join(denials[-10:])
