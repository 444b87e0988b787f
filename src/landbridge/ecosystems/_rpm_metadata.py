"""What RPM repositories publish beside packages, cut down to the packages that are locked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as Xml

import yaml

# All scalars as texts: a stream may be called 1.10.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_OF_MODULES = ("modulemd-defaults", "modulemd-obsoletes")


class Nevra(NamedTuple):
    """The identity of an RPM; `version` is `epoch:version` as in the lock."""

    name: str
    version: str
    release: str
    arch: str

    def __str__(self) -> str:
        return f"{self.name}-{self.version}-{self.release}.{self.arch}"


class Carried(NamedTuple):
    """One kind of metadata: its file beside `repodata/` in the lock, and what cuts it down."""

    file: str
    cut: Callable[[Iterable[Path], Iterable[Nevra]], str]


class _Document(NamedTuple):
    """One document of modules metadata: its text and what it says."""

    text: str
    kind: str
    data: dict[str, Any]


def updateinfo(files: Iterable[Path], locked: Iterable[Nevra]) -> str:
    """Advisories that concern locked packages, sorted, naming those packages alone.

    The format is that of `updateinfo.xml` in RPM repositories, as libsolv reads it
    (`ext/repo_updateinfoxml.c`).

    Args:
        files: the repositories' own files, unpacked.
        locked: the packages.

    Returns:
        An XML document, or nothing where no advisory is left.

    Raises:
        ValueError: a file is not XML.
    """
    wanted, kept = set(locked), {}
    for file in files:
        for advisory in _advisories(file):
            if _cut(advisory, wanted):
                Xml.indent(advisory)
                text = Xml.tostring(advisory, encoding="unicode").strip()
                kept[advisory.findtext("id", ""), text] = text
    if not kept:
        return ""
    texts = "\n".join(kept[key] for key in sorted(kept))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<updates>\n{texts}\n</updates>\n'


def modules(files: Iterable[Path], locked: Iterable[Nevra]) -> str:
    """Modules metadata for the locked packages, each document as its repository has it.

    Kept are the streams that hold a locked package, the streams that these require, and the
    defaults and obsoletes of all their modules. The format is libmodulemd's
    (`yaml_specs/modulemd_stream_v2.yaml` and its neighbours).

    Args:
        files: the repositories' own files, unpacked.
        locked: the packages.

    Returns:
        YAML documents, sorted, or nothing where no locked package is of a module.

    Raises:
        ValueError: a file is not YAML.
    """
    names = {str(nevra) for nevra in locked}
    documents = [document for file in files for document in _documents(file)]
    streams = [d for d in documents if d.kind == "modulemd"]
    kept = [s for s in streams if not names.isdisjoint(_artifacts(s))]
    if not kept:
        return ""
    kept = _with_required(kept, streams, _default_streams(documents))
    of_modules = {stream.data["name"] for stream in kept}
    kept += [d for d in documents if d.kind in _OF_MODULES and d.data.get("module") in of_modules]
    return "".join(f"---\n{text}\n...\n" for text in sorted({d.text for d in kept}))


def _advisories(file: Path) -> Iterator[Xml.Element]:
    """Each advisory, whole; what is done with is let go, since these files are large."""
    try:
        # expat from 2.4.1 on bounds the expansion of entities.
        events = Xml.iterparse(file, events=("start", "end"))  # noqa: S314
        _, root = next(events)
        for event, element in events:
            if event == "end" and element.tag == "update":
                yield element
                root.clear()
    except Xml.ParseError as error:
        raise ValueError(f"updateinfo: {error}") from error


def _cut(advisory: Xml.Element, wanted: set[Nevra]) -> bool:
    """Take out of an advisory what does not concern `wanted`; says whether anything is left."""
    for lists in advisory.findall("pkglist"):
        for collection in lists.findall("collection"):
            for package in collection.findall("package"):
                if _nevra(package) not in wanted:
                    collection.remove(package)
            if collection.find("package") is None:
                lists.remove(collection)
    return advisory.find("pkglist/collection") is not None


def _nevra(package: Xml.Element) -> Nevra:
    get = package.get
    version = f"{get('epoch') or '0'}:{get('version', '')}"
    return Nevra(get("name", ""), version, get("release", ""), get("arch", ""))


def _documents(file: Path) -> Iterator[_Document]:
    texts = re.split(r"^(?:---|\.\.\.)[ \t]*$", file.read_text(encoding="utf-8"), flags=re.M)
    for text in filter(None, (text.strip("\n") for text in texts)):
        try:
            content = yaml.load(text, Loader=_Loader)  # noqa: S506 - makes texts only
        except yaml.YAMLError as error:
            raise ValueError(f"modules: {error}") from error
        if isinstance(content, dict) and isinstance(content.get("data"), dict):
            yield _Document(text, str(content.get("document")), content["data"])


def _artifacts(stream: _Document) -> list[str]:
    return list((stream.data.get("artifacts") or {}).get("rpms") or [])


def _default_streams(documents: list[_Document]) -> dict[str, str]:
    """The default stream of each module that has one."""
    return {
        d.data["module"]: d.data["stream"]
        for d in documents
        if d.kind == "modulemd-defaults" and "stream" in d.data
    }


def _with_required(
    kept: list[_Document], streams: list[_Document], defaults: dict[str, str]
) -> list[_Document]:
    """`kept` and the streams that they require, without which dnf takes no notice of them."""
    offered: dict[tuple[str, str], list[_Document]] = defaultdict(list)
    for stream in streams:
        offered[stream.data["name"], stream.data["stream"]].append(stream)
    found, position = list(kept), 0
    seen = {(s.data["name"], s.data["stream"]) for s in kept}
    while position < len(found):
        for required in _requirements(found[position], defaults) - seen:
            seen.add(required)
            found += offered[required]
        position += 1
    return found


def _requirements(stream: _Document, defaults: dict[str, str]) -> set[tuple[str, str]]:
    """Name and stream of each module that a stream runs with; any stream means the default."""
    return {
        (module, name)
        for dependency in stream.data.get("dependencies") or []
        for module, names in (dependency.get("requires") or {}).items()
        for name in names or [defaults.get(module, "")]
        if module != "platform"
    }


# By kind, as `repomd.xml` names it.
CARRIED = {
    "modules": Carried("modules.yaml", modules),
    "updateinfo": Carried("updateinfo.xml", updateinfo),
}
