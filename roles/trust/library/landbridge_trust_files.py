#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Files that are there with a content, or not at all."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_trust_files
short_description: Keep a set of small files, each with its content or absent
description:
  - What a node trusts is in many small files of many programs. One call judges them all, which on
    a node that needs none of them costs no more than one file.
  - Files are root's. Their directories are made where they are missing.
options:
  files:
    description: Content by path for files that everybody reads; empty for a file that must not be.
    type: dict
    required: true
  secrets:
    description: The same for files that root alone reads.
    type: dict
    default: {}
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Says which files would change.
    support: full
  diff_mode:
    description: Shows files that everybody reads; of the others, that they change.
    support: full
"""

EXAMPLES = r"""
- name: Tell shells of a proxy
  landbridge_trust_files:
    files:
      /etc/profile.d/proxy.sh: "export http_proxy=http://proxy.example.org:3128\n"
"""

RETURN = r"""
paths:
  description: Files that have changed, or in check mode would.
  returned: always
  type: list
  elements: str
  sample: [/etc/profile.d/proxy.sh]
"""

import os
import stat
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def is_right(path: Path, text: str, mode: int) -> bool:
    """Whether a file is as it must be."""
    if not text:
        return not path.is_symlink() and not path.exists()
    if path.is_symlink() or not path.is_file() or path.read_text(errors="replace") != text:
        return False
    return stat.S_IMODE(path.stat().st_mode) == mode


def put(module: AnsibleModule, path: Path, text: str, mode: int) -> None:
    """Write or remove a file; a secret is at no time in a file that others read."""
    if not text:
        path.unlink()
        return
    old = os.umask(0o022)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.umask(old)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".landbridge-")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        path.chmod(mode)  # atomic_move gives the new file the old one's
    else:
        Path(name).chmod(mode)
    module.atomic_move(name, str(path))
    path.chmod(mode)


def shown(path: Path, text: str) -> dict[str, str]:
    """A readable file's difference."""
    before = path.read_text(errors="replace") if path.is_file() else ""
    return {"before": before, "after": text, "before_header": str(path), "after_header": str(path)}


def main() -> None:
    """Change the files that are not right."""
    specification = {
        "files": {"type": "dict", "required": True},
        "secrets": {"type": "dict", "default": {}, "no_log": True},
    }
    module = AnsibleModule(argument_spec=specification, supports_check_mode=True)
    wanted = [(Path(p), text, 0o600) for p, text in module.params["secrets"].items()]
    wanted += [(Path(p), text, 0o644) for p, text in module.params["files"].items()]
    wrong = [entry for entry in wanted if not is_right(*entry)]
    diff = [shown(path, text) for path, text, mode in wrong if mode == 0o644]
    if not module.check_mode:
        for entry in wrong:
            put(module, *entry)
    module.exit_json(changed=bool(wrong), paths=[str(path) for path, _, _ in wrong], diff=diff)


if __name__ == "__main__":
    main()
