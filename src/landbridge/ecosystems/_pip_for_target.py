"""pip whose markers are a target's, not this machine's.

`pip install --python-version` chooses files for another Python, but evaluates environment
markers (`; python_version < "3.12"`) for the Python it runs on: the closure for 3.13 would
lack or carry packages by accident. Usage: `_pip_for_target.py 3.12 install ...`.
"""

from __future__ import annotations

import os
import sys

from pip._internal.cli.main import main
from pip._vendor.packaging import markers

version = sys.argv[1]
target = {
    **markers.default_environment(),
    "implementation_name": "cpython",
    "implementation_version": f"{version}.0",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    # Markers on the patch release bring backports to older ones: .0 takes all of them.
    "python_full_version": f"{version}.0",
    "python_version": version,
    "sys_platform": "linux",
}
markers.default_environment = lambda: dict(target)  # type: ignore[assignment,return-value]
status = main(sys.argv[2:])
sys.stdout.flush()
os._exit(status)
