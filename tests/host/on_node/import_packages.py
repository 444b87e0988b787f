"""Import every module of the distributions named; run by an environment's own Python.

Prints {"imported": [...], "failed": {module: error}}. A name that is no Python distribution
(a Node program, Python itself) has nothing to import.
"""

import importlib
import importlib.metadata
import json
import re
import sys


def normal(name: str) -> str:
    """A distribution's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def modules(wanted: set[str]) -> list[str]:
    """Public top-level modules of the wanted distributions."""
    table = importlib.metadata.packages_distributions()
    return sorted(
        module
        for module, owners in table.items()
        if not module.startswith("_") and wanted & {normal(owner) for owner in owners}
    )


imported, failed = [], {}
for module in modules({normal(name) for name in sys.argv[1:]}):
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever an import raises is the finding
        failed[module] = f"{type(error).__name__}: {error}"
    else:
        imported.append(module)
print(json.dumps({"imported": imported, "failed": failed}))
