#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""A self-signed certificate and its key in one file."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_self_signed
short_description: Make a self-signed TLS certificate, and renew it before it ends
description:
  - Writes certificate and key into one PEM file, readable by root alone, so that the two always
    fit each other.
  - A new one is made where none is, where the names differ, and where the old one ends soon.
  - Calls C(openssl), which RHEL carries; needs no further library.
options:
  path:
    description: The PEM file; its directory exists.
    type: path
    required: true
  names:
    description: DNS names and addresses that the certificate is for; the first is its subject.
    type: list
    elements: str
    required: true
  days:
    description: How long a new certificate is valid.
    type: int
    default: 825
  renew_days:
    description: With fewer days left, a new one is made.
    type: int
    default: 60
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Says whether a certificate would be made.
    support: full
  diff_mode:
    description: Shows the names, never the key.
    support: full
"""

EXAMPLES = r"""
- name: Make a certificate for the first start
  landbridge_self_signed:
    path: /etc/landbridge/jupyterhub/tls/hub.pem
    names: [hub.example.org, 192.0.2.10]
"""

RETURN = r"""
reason:
  description: Why a certificate was made; empty where the old one stays.
  returned: always
  type: str
  sample: it ends within 60 days
"""

import ipaddress
import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

CONFIGURATION = """\
[req]
distinguished_name = subject
x509_extensions = extensions
prompt = no
[subject]
CN = {subject}
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = {names}
"""
KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def alternative(name: str) -> str:
    """A name as OpenSSL's configuration has it."""
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name.lower()}"


def printed(name: str) -> str:
    """The same of a name that OpenSSL has printed."""
    kind, _, value = name.strip().partition(":")
    return alternative(value) if kind in ("DNS", "IP Address") else name


def names_of(module: AnsibleModule, path: str) -> list[str] | None:
    """The names of a certificate; None where the file holds none."""
    command = ["openssl", "x509", "-in", path, "-noout", "-ext", "subjectAltName"]
    code, out, _ = module.run_command(command)
    lines = out.splitlines()[1:]
    return sorted(printed(name) for line in lines for name in line.split(",")) if not code else None


def reason(module: AnsibleModule, path: str, wanted: list[str]) -> tuple[str, list[str]]:
    """Why a new certificate is needed, and the old one's names."""
    if not Path(path).exists():
        return "there is none", []
    names = names_of(module, path)
    code, _, _ = module.run_command(["openssl", "pkey", "-in", path, "-noout"])
    if names is None or code:
        return "the file holds no certificate with its key", names or []
    if names != wanted:
        return "the names differ", names
    days = module.params["renew_days"]
    command = ["openssl", "x509", "-in", path, "-noout", "-checkend", str(days * 86400)]
    ends = module.run_command(command)[0] != 0
    return (f"it ends within {days} days" if ends else ""), names


def make(module: AnsibleModule, path: str, wanted: list[str]) -> None:
    """Write a new certificate with a new key."""
    subject = module.params["names"][0][:64]  # X.509 allows no more
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
        files = {name: f"{folder}/{name}" for name in ("cnf", "key", "crt", "pem")}
        Path(files["cnf"]).write_text(
            CONFIGURATION.format(subject=subject, names=", ".join(wanted))
        )
        command = ["openssl", "req", "-x509", *KEY, "-days", str(module.params["days"])]
        command += ["-config", files["cnf"], "-keyout", files["key"], "-out", files["crt"]]
        code, _, error = module.run_command(command)
        if code:
            module.fail_json(msg=f"openssl made no certificate for {wanted}: {error.strip()}")
        descriptor = os.open(files["pem"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as pem:
            pem.write(Path(files["crt"]).read_text() + Path(files["key"]).read_text())
            pem.flush()
            os.fsync(pem.fileno())
        module.atomic_move(files["pem"], path)
        Path(path).chmod(0o600)


def main() -> None:
    """Make the certificate where it is needed."""
    specification = {
        "path": {"type": "path", "required": True},
        "names": {"type": "list", "elements": "str", "required": True},
        "days": {"type": "int", "default": 825},
        "renew_days": {"type": "int", "default": 60},
    }
    module = AnsibleModule(argument_spec=specification, supports_check_mode=True)
    if not module.get_bin_path("openssl"):
        module.fail_json(msg="openssl is missing: dnf install openssl")
    path = module.params["path"]
    wanted = sorted({alternative(name) for name in module.params["names"]})
    why, before = reason(module, path, wanted)
    if why and not module.check_mode:
        make(module, path, wanted)
    shown = {"before": "\n".join(before) + "\n", "after": "\n".join(wanted) + "\n"}
    module.exit_json(changed=bool(why), reason=why, diff={**shown, "before_header": path})


if __name__ == "__main__":
    main()
