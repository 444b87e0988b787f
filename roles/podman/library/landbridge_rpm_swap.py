#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""RPMs that go and RPMs that come in one transaction."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_rpm_swap
short_description: Remove RPMs and install others in one transaction
description:
  - Either all of it happens or nothing, which two runs of C(ansible.builtin.dnf) cannot promise;
    and packages that hold the same file can follow each other.
  - What the removed packages have brought along stays.
options:
  remove:
    description: Names of RPMs that must not be installed.
    type: list
    elements: str
    required: true
  install:
    description: Names of RPMs that must be.
    type: list
    elements: str
    required: true
  only_ask:
    description: Fail if dnf cannot do it, and change nothing.
    type: bool
    default: false
requirements:
  - dnf 4
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Names the packages; does not ask dnf whether it can.
    support: full
  diff_mode:
    description: Shows the packages of both lists that are installed.
    support: full
"""

EXAMPLES = r"""
- name: Put Podman in Docker's place
  landbridge_rpm_swap:
    remove: [docker-ce, docker-ce-cli]
    install: [podman-docker]
"""

RETURN = r"""
removed:
  description: Names of the RPMs that were, or in check mode would be, removed.
  returned: always
  type: list
  elements: str
  sample: [docker-ce, docker-ce-cli]
installed:
  description: Names of the RPMs that were, or in check mode would be, installed.
  returned: always
  type: list
  elements: str
  sample: [podman-docker]
"""

import tempfile

from ansible.module_utils.basic import AnsibleModule

ENGLISH = {"LC_ALL": "C.UTF-8"}
DECLINED = "Error: Operation aborted."


def present(module, names):
    """Those of the names that are installed; rpm has a sentence for each that is not."""
    form = ["rpm", "--query", "--queryformat", "%{NAME}\\n", "--", *names]
    _code, out, _error = module.run_command(form, environ_update=ENGLISH)
    return set(names) & set(out.splitlines())


def shell(module, answer, steps):
    """What dnf's shell says; it ends with 0 whatever happens."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="landbridge-") as script:
        script.write("\n".join([*steps, "run", ""]))
        script.flush()
        options = [answer, "--setopt=clean_requirements_on_remove=False"]
        _code, out, error = module.run_command(
            ["dnf", *options, "shell", script.name], environ_update=ENGLISH
        )
    return out + error


def swap(module, removed, installed):
    """Run dnf, or ask it only; returns what is wrong, if anything is.

    Its shell goes on after a step that it cannot do. So it is asked first whether it can do all:
    then it gets as far as to its question, and the answer no is its only error.
    """
    steps = [f"remove {' '.join(removed)}"] if removed else []
    steps += [f"install {' '.join(installed)}"] if installed else []
    foreseen = shell(module, "--assumeno", steps)
    if [line for line in foreseen.splitlines() if line.startswith("Error: ")] != [DECLINED]:
        return foreseen
    if module.params["only_ask"]:
        return ""
    said = shell(module, "--assumeyes", steps)
    left = bool(removed) and bool(present(module, removed))
    lacking = bool(installed) and len(present(module, installed)) < len(installed)
    return f"{said}\nIts transaction has failed." if left or lacking else ""


def main():
    """Run as an Ansible module."""
    names = {"type": "list", "elements": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "remove": names,
            "install": names,
            "only_ask": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    remove, install = module.params["remove"], module.params["install"]
    if not remove and not install:
        module.exit_json(changed=False, removed=[], installed=[])
    before = present(module, [*remove, *install])
    removed = [name for name in remove if name in before]
    installed = [name for name in install if name not in before]
    changed = bool(removed or installed)
    if changed and not module.check_mode and (said := swap(module, removed, installed)):
        going, coming = ", ".join(sorted(removed)) or "nothing", ", ".join(sorted(installed))
        names = f"remove {going} and install {coming or 'nothing'}"
        module.fail_json(msg=f"dnf cannot {names}:\n{said.strip()}")
    if module.params["only_ask"]:
        module.exit_json(changed=False, removed=[], installed=[])
    after = (before - set(removed)) | set(installed)
    module.exit_json(
        changed=changed,
        removed=removed,
        installed=installed,
        diff={
            side: "".join(f"{name}\n" for name in sorted(names))
            for side, names in (("before", before), ("after", after))
        },
    )


if __name__ == "__main__":
    main()
