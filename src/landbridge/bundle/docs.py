"""The documentation in a bundle, for people and for the browser that reads it from a depot node.

It is what the bundle's own toolkit carries: so it fits that, and the same lock gives the same.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from landbridge.files import write_file

FOLDER = "docs"
_CONTENT = "landbridge/content/"


def write(wheel: Path, folder: Path) -> None:
    """Write `README.md` and the pages it points to.

    Args:
        wheel: our own.
        folder: where they go, all beside each other.
    """
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = name.removeprefix(_CONTENT)
            if path == "README.md":
                text = archive.read(name).decode().replace(f"]({FOLDER}/", "](")
                write_file(folder / path, text)
            elif path != name and path.startswith(f"{FOLDER}/"):
                write_file(folder / path.removeprefix(f"{FOLDER}/"), archive.read(name))
