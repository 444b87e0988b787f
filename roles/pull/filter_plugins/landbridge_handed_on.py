"""Which variables of an inventory a node needs for converging itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SHARED = "landbridge_"
# Said for one run, not for all that follow.
ONCE = {
    "landbridge_allow_downgrade",
    "landbridge_drain",
    "landbridge_max_fail_percentage",
    "landbridge_pulling",
    "landbridge_serial",
}


def handed_on(variables: Mapping[str, Any], roles: str) -> dict[str, Any]:
    """Those that roles document, and those that all roles share.

    Args:
        variables: of the node, as the inventory gives them.
        roles: the folder of the roles.
    """
    documented: set[str] = set()
    for file in Path(roles).glob("*/meta/argument_specs.yml"):
        for spec in yaml.safe_load(file.read_text())["argument_specs"].values():
            documented.update(spec.get("options", {}))
    wanted = [n for n in variables if n in documented or n.startswith(SHARED)]
    return {name: variables[name] for name in sorted(wanted) if name not in ONCE}


class FilterModule:
    """For Ansible."""

    def filters(self) -> dict[str, Any]:
        """The filter by its name."""
        return {"landbridge_handed_on": handed_on}
