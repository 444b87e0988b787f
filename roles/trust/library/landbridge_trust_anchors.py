#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""The enterprise's CA certificates in the node's store."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_trust_anchors
short_description: Keep CA certificates in the system's store
description:
  - Each certificate is a file C(landbridge-<hash>.pem) among the anchors; files of this name that
    are not wanted go. Other anchors are left alone.
  - Runs C(update-ca-trust) when the anchors change, and when a run that ended early has left the
    store older than they are.
  - Refuses what is no certificate of an authority, has a private key beside it, or has expired.
options:
  certificates:
    description: PEM texts, each of one certificate or of several.
    type: list
    elements: str
    required: true
  folder:
    description: Directory of the anchors.
    type: path
    default: /etc/pki/ca-trust/source/anchors
  store:
    description: The file that C(update-ca-trust) makes of them.
    type: path
    default: /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Says which certificates would come and go.
    support: full
  diff_mode:
    description: Shows the names of the files.
    support: full
"""

EXAMPLES = r"""
- name: Trust the enterprise's CA
  landbridge_trust_anchors:
    certificates: ["{{ lookup('ansible.builtin.file', 'enterprise-ca.pem') }}"]
"""

RETURN = r"""
names:
  description: Names of the files among the anchors.
  returned: always
  type: list
  elements: str
  sample: [landbridge-0123456789abcdef.pem]
"""

import hashlib
import os
import re
import ssl
import tempfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Refused(Exception):
    """A text that is not to be trusted, in words for its owner."""


def judge(block: str) -> None:
    """Refuse what is no certificate of a CA that is valid now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=block)
    except ssl.SSLError as error:
        raise Refused(f"cannot be read ({error.reason}): give the whole PEM text") from error
    found = context.get_ca_certs()
    if not found:
        raise Refused("is of no authority: give the certificate of the CA that signed it")
    if ssl.cert_time_to_seconds(found[0]["notAfter"]) < time.time():
        subject = ", ".join(f"{key}={value}" for part in found[0]["subject"] for key, value in part)
        raise Refused(f"({subject}) expired on {found[0]['notAfter']}: remove or renew it")


def anchors(texts: list[str]) -> dict[str, str]:
    """Every certificate, by the name of its file."""
    wanted = {}
    for number, text in enumerate(texts, 1):
        if "PRIVATE KEY" in text:
            raise Refused(f"entry {number} holds a private key: give the certificate alone")
        blocks = BLOCK.findall(text.replace("\r", ""))
        if not blocks:
            raise Refused(f"entry {number} holds no PEM certificate: give its text or its file")
        for block in blocks:
            try:
                judge(block)
            except Refused as error:
                raise Refused(f"certificate of entry {number} {error}") from error
            digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(block)).hexdigest()
            wanted[f"landbridge-{digest[:16]}.pem"] = f"{block}\n"
    return wanted


def write(module: AnsibleModule, path: Path, text: str) -> None:
    """Write a file that everybody reads, whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".landbridge-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).chmod(0o644)
    module.atomic_move(name, str(path))


def is_stale(folder: Path, store: Path) -> bool:
    """Whether the anchors have changed since the store was made of them."""
    if not folder.is_dir():
        return False
    return not store.exists() or store.stat().st_mtime_ns < folder.stat().st_mtime_ns


def change(module: AnsibleModule, folder: Path, wanted: dict, surplus: list[Path]) -> None:
    """Bring the anchors to what is wanted, and the store after them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            write(module, path, text)
    for path in surplus:
        path.unlink()
    code, _, error = module.run_command(["update-ca-trust"])
    if code:
        module.fail_json(msg=f"update-ca-trust failed: {error.strip()}")


def main() -> None:
    """Change the anchors where they are not as wanted."""
    specification = {
        "certificates": {"type": "list", "elements": "str", "required": True},
        "folder": {"type": "path", "default": "/etc/pki/ca-trust/source/anchors"},
        "store": {
            "type": "path",
            "default": "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        },
    }
    module = AnsibleModule(argument_spec=specification, supports_check_mode=True)
    folder, store = Path(module.params["folder"]), Path(module.params["store"])
    try:
        wanted = anchors(module.params["certificates"])
    except Refused as error:
        module.fail_json(msg=f"trust_certificates: {error}")
    present = {path.name: path.read_text() for path in sorted(folder.glob("landbridge-*.pem"))}
    surplus = [folder / name for name in present if name not in wanted]
    differs = present != wanted
    # Without a certificate of ours the store is nobody's business here.
    changed = differs or bool(wanted and is_stale(folder, store))
    if changed and not module.check_mode:
        change(module, folder, wanted, surplus)
    before, after = ("".join(f"{name}\n" for name in sorted(names)) for names in (present, wanted))
    diff = {"before": before, "after": after, "before_header": str(folder)}
    module.exit_json(changed=changed, names=sorted(wanted), diff=diff)


if __name__ == "__main__":
    main()
