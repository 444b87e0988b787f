"""pip whose markers are a target's, which takes sources by name, and tells what it was told.

`pip install --python-version` chooses files for another Python, but evaluates environment
markers (`; python_version < "3.12"`) for the Python it runs on: the closure for 3.13 would
lack or carry packages by accident. It also refuses `--no-binary` beside `--python-version`, so
the projects that may come as their source are named here. And its report leaves out the size
and the day that an index has for each file (PEP 700): they are added, under `index`.

Usage: `_pip_for_target.py 3.12 name,name install ...`.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from pip._internal.cli.main import main
from pip._internal.models.format_control import FormatControl
from pip._internal.models.link import Link
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

# Takes the function by name when it is imported, so not before now.
from pip._internal.models.installation_report import InstallationReport  # noqa: E402

formats_of = FormatControl.get_allowed_formats


def formats(self: FormatControl, canonical_name: str) -> frozenset[str]:
    """Wheel or source where the source is allowed by name, else what the options say."""
    both = frozenset({"binary", "source"})
    return both if canonical_name in sdists else formats_of(self, canonical_name)


FormatControl.get_allowed_formats = formats  # type: ignore[method-assign]
told: dict[str, dict[str, Any]] = {}
link_of = Link.from_json
entry_of = InstallationReport._install_req_to_dict


def link(file_data: dict[str, Any], page_url: str) -> Link | None:
    """The link of a file in an index, whose size and day are noted."""
    found = link_of(file_data, page_url)
    if found:
        known = {key: file_data[key] for key in ("size", "upload-time") if file_data.get(key)}
        told[found.url_without_fragment] = known
    return found


def entry(requirement: Any) -> dict[str, Any]:
    """An entry of the report with what the index said of the file."""
    source = requirement.download_info
    return {**entry_of(requirement), "index": told.get(source.url, {}) if source else {}}


Link.from_json = staticmethod(link)  # type: ignore[method-assign]
InstallationReport._install_req_to_dict = staticmethod(  # type: ignore[method-assign,assignment]
    entry
)
status = main(sys.argv[3:])
sys.stdout.flush()
os._exit(status)
