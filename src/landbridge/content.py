"""Where the content (playbooks, roles, inventories, host checks) of this installation is."""

from __future__ import annotations

from pathlib import Path

from landbridge.errors import LandbridgeError

PACKAGE = Path(__file__).resolve().parent


def content_root(package: Path = PACKAGE) -> Path:
    """Find the content: that of the checkout this package runs from, else the wheel's own.

    Args:
        package: folder of the `landbridge` package.

    Returns:
        The folder that holds `site.yml`, `roles/`, `inventories/` and `tests/host/`.

    Raises:
        LandbridgeError: neither place holds the content.
    """
    candidates = (package.parent.parent, package / "content")
    for root in candidates:
        if (root / "site.yml").is_file() and (root / "roles").is_dir():
            return root
    raise LandbridgeError(
        f"site.yml and roles/ are neither in {candidates[0]} nor in {candidates[1]}",
        "install landbridge from its wheel, or run it from a checkout",
    )
