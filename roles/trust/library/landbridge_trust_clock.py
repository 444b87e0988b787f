#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Whether the node's clock follows a server."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_trust_clock
short_description: See whether the clock is synchronized
description:
  - Asks the kernel through C(timedatectl), so it does not matter which service keeps the time.
  - Signatures and certificates are judged by this clock.
options:
  required:
    description: Whether a clock that is not synchronized is a failure, or only a warning.
    type: bool
    required: true
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Require a right clock
  landbridge_trust_clock:
    required: true
"""

RETURN = r"""
synchronized:
  description: Whether it is.
  returned: success
  type: bool
  sample: true
"""

import time

from ansible.module_utils.basic import AnsibleModule

ASK = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
MEND = "configure chronyd with the site's servers (chronyc makestep sets the clock at once)"


def main() -> None:
    """Ask, and say it."""
    module = AnsibleModule(
        argument_spec={"required": {"type": "bool", "required": True}}, supports_check_mode=True
    )
    code, out, error = module.run_command(ASK)
    if code:
        module.fail_json(msg=f"trust_require_time_sync: {' '.join(ASK)} failed: {error.strip()}")
    synchronized = out.strip() == "yes"
    if not synchronized:
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        said = f"the clock ({now}) is not synchronized: {MEND}"
        if module.params["required"]:
            module.fail_json(msg=f"trust_require_time_sync: {said}")
        module.warn(said)
    module.exit_json(changed=False, synchronized=synchronized)


if __name__ == "__main__":
    main()
