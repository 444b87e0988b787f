"""Small wheels, made on the spot."""

from __future__ import annotations

import zipfile
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    requires: tuple[str, ...] = (),
    files: dict[str, str] | None = None,
    tag: str = "py3-none-any",
) -> Path:
    """Write a wheel with METADATA, WHEEL, RECORD and `files`; a binary `tag` makes it platlib."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += ["License-Expression: MIT", *(f"Requires-Dist: {need}" for need in requires)]
    pure = "true" if tag.endswith("-any") else "false"
    content = {f"{stem}/__init__.py": "", **(files or {})}
    content[f"{info}/METADATA"] = "\n".join(lines) + "\n\n"
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: {pure}\nTag: {tag}\n"
    content[f"{info}/licenses/LICENSE"] = "MIT\n"
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in content)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in content.items():
            archive.writestr(inside, text)
    return path
