"""The simple index of Python projects, as HTML (PEP 503) and as JSON (PEP 691 and 700).

A directory is read by its `index.html`; a depot node gives who asks for JSON the `index.json`.
Files lie beside their page, so that links stay relative.
"""

from __future__ import annotations

import html
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, NamedTuple

from packaging.version import Version

from landbridge.errors import SourceError
from landbridge.files import write_file
from landbridge.lock import Artifact

_REQUIRES = "Requires-Python"
# The wheel's own: what it vendors may have one, too, deeper inside.
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")


class _Link(NamedTuple):
    href: str
    text: str
    attributes: Mapping[str, str]


def write(folder: Path, projects: Mapping[str, list[Artifact]]) -> None:
    """Write both pages of each project and of them all.

    Args:
        folder: the index's folder, which has the files.
        projects: the files of each project, by its canonical name.
    """
    for name, artifacts in projects.items():
        requires = {a.file: _requires_python(folder / name / a.file) for a in artifacts}
        links = (
            _Link(f"{a.file}#sha256={a.sha256}", a.file, _marks(requires[a.file]))
            for a in artifacts
        )
        files = [_file(artifact, requires[artifact.file]) for artifact in artifacts]
        versions = sorted({artifact.version for artifact in artifacts}, key=Version)
        write_file(folder / name / "index.html", _page(links))
        detail = _json(name=name, versions=versions, files=files)
        write_file(folder / name / "index.json", detail)
    names = sorted(projects)
    write_file(folder / "index.html", _page(_Link(f"{name}/", name, {}) for name in names))
    write_file(folder / "index.json", _json(projects=[{"name": name} for name in names]))


def _file(artifact: Artifact, requires: str) -> dict[str, Any]:
    told = {"requires-python": requires} if requires else {}
    hashes = {"sha256": artifact.sha256}
    named = {"filename": artifact.file, "url": artifact.file, "hashes": hashes}
    return {**named, **told, "size": artifact.size}


def _marks(requires: str) -> dict[str, str]:
    return {"data-requires-python": requires} if requires else {}


def _requires_python(file: Path) -> str:
    """For which Pythons a wheel is; empty for all, and for a source, whose builder asks itself."""
    if file.suffix != ".whl":
        return ""
    try:
        with zipfile.ZipFile(file) as archive:
            name = next(n for n in archive.namelist() if _METADATA.fullmatch(n))
            metadata = HeaderParser().parsestr(archive.read(name).decode())
    except (zipfile.BadZipFile, StopIteration, UnicodeDecodeError) as error:
        mend = "leave the project out, or mend it at its source"
        raise SourceError(f"{file.name}: not a wheel: {error!r}", mend) from error
    return str(metadata.get(_REQUIRES, "")).strip()


def _page(links: Iterable[_Link]) -> str:
    body = "\n".join(
        f"<a {_attributes({'href': link.href, **link.attributes})}>{html.escape(link.text)}</a><br>"
        for link in links
    )
    head = '<meta name="pypi:repository-version" content="1.0">'
    return f"<!DOCTYPE html>\n<html><head>{head}</head><body>\n{body}\n</body></html>\n"


def _attributes(values: Mapping[str, str]) -> str:
    return " ".join(f'{name}="{html.escape(value)}"' for name, value in values.items())


def _json(**fields: Any) -> str:
    return json.dumps({"meta": {"api-version": "1.1"}, **fields}, indent=1) + "\n"
