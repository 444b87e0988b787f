"""pip whose markers are a target's, not this machine's, and which takes sources by name.

`pip install --python-version` chooses files for another Python, but evaluates environment
markers (`; python_version < "3.12"`) for the Python it runs on: the closure for 3.13 would
lack or carry packages by accident. It also refuses `--no-binary` beside `--python-version`, so
the projects that may come as their source are named here.

Usage: `_pip_for_target.py 3.12 name,name install ...`.
"""

from __future__ import annotations

import os
import sys

from pip._internal.cli.main import main
from pip._internal.models.format_control import FormatControl
from pip._vendor.packaging import markers

version, sdists = sys.argv[1], frozenset(sys.argv[2].split(","))
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
formats_of = FormatControl.get_allowed_formats


def formats(self: FormatControl, canonical_name: str) -> frozenset[str]:
    """Wheel or source where the source is allowed by name, else what the options say."""
    both = frozenset({"binary", "source"})
    return both if canonical_name in sdists else formats_of(self, canonical_name)


FormatControl.get_allowed_formats = formats  # type: ignore[method-assign]
status = main(sys.argv[3:])
sys.stdout.flush()
os._exit(status)
