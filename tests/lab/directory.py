"""A real LDAP directory on a lab node: Debian's OpenLDAP in a root of its own, on loopback.

It answers on 389 (with StartTLS) and 636, and says nothing to who has not logged in.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from landbridge.errors import NodeError
from tests.lab import debs, podman

SUITE = "trixie"  # in a root of its own it need not be the node's
PACKAGES = ["slapd", "ldap-utils"]
FOLDER = "/opt/landbridge-lab/directory"
UNIT = "landbridge-lab-directory"
SUFFIX = "dc=example,dc=org"
ADMINISTRATOR, PASSWORD = f"cn=admin,{SUFFIX}", "directory-9vK3-of-the-lab"
_CONFIG = f"""\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile /etc/ldap/server.pem
TLSCertificateKeyFile /etc/ldap/server.pem
database mdb
suffix {SUFFIX}
rootdn {ADMINISTRATOR}
rootpw {PASSWORD}
directory /var/lib/ldap
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
"""


@dataclass(frozen=True)
class Directory:
    """A directory that runs on a node."""

    node: str

    def change(self, ldif: str) -> None:
        """Change entries, as `ldapmodify` does.

        Raises:
            NodeError: the directory refuses; what it said is in the message.
        """
        client = ["chroot", FOLDER, "/usr/bin/ldapmodify", "-x", "-H", "ldap://127.0.0.1"]
        _run(self.node, [*client, "-D", ADMINISTRATOR, "-w", PASSWORD], ldif.encode())


def start(node: str, certificate: Path, entries: str) -> Directory:
    """Start a directory on a node.

    Args:
        node: its name.
        certificate: PEM file with the server's certificate and its key.
        entries: LDIF of everything that is in it.

    Raises:
        NodeError: it did not start.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for deb in sorted(debs.fetch(SUITE, PACKAGES, closure=True).iterdir()):
            subprocess.run(["dpkg-deb", "--extract", deb, root], check=True)
        for name in ("lib", "lib64"):
            if not (root / name).exists():
                (root / name).symlink_to(f"usr/{name}")
        (root / "etc/ldap/slapd.conf").write_text(_CONFIG)
        (root / "etc/ldap/server.pem").write_bytes(certificate.read_bytes())
        (root / "var/lib/ldap").mkdir(parents=True, exist_ok=True)
        tar = subprocess.run(["tar", "-C", root, "-c", "."], capture_output=True, check=True)
    _run(node, ["sh", "-ec", f"mkdir -p {FOLDER}; tar -C {FOLDER} -x"], tar.stdout)
    slapd = ["chroot", FOLDER, "/usr/sbin/slapd", "-f", "/etc/ldap/slapd.conf"]
    _run(node, [*slapd, "-T", "add"], entries.encode())
    urls = "ldap://127.0.0.1 ldaps://127.0.0.1"
    _run(node, ["systemd-run", "--quiet", "--unit", UNIT, *slapd, "-d", "0", "-h", urls])
    asks = f"chroot {FOLDER} /usr/bin/ldapwhoami -x -H ldap://127.0.0.1 >/dev/null 2>&1"
    alive = f"systemctl is-active --quiet {UNIT} || exit 1"
    _run(node, ["sh", "-c", f"until {asks}; do {alive}; sleep 0.05; done"])
    return Directory(node)


def _run(node: str, command: list[str], content: bytes = b"") -> None:
    done = subprocess.run(
        podman.command("exec", "--interactive", node, *command),
        input=content,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise NodeError(f"directory on {node}: {done.stderr.decode().strip()}", f"see {UNIT}'s log")
