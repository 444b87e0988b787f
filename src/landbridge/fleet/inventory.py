"""An inventory's YAML file, edited as text: what is not said to change stays byte for byte.

The places are found by the YAML parser. The text that results is parsed again, and must say what
was meant; otherwise nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_letters
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from landbridge.errors import InputError
from landbridge.files import write_file

ALL = "all"
STEP = 2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# As Ansible's inventories have it: node[1:4], node[01:10:2], rack[a:c].
_RANGE = re.compile(r"\[(\w*):(\w+)(?::([1-9]\d*))?\]")
_BY_HAND = "edit the file by hand, then prove the node with `landbridge node check`"


class _Reader(yaml.SafeLoader):
    """Reads an inventory as data; what a tag stands for (`!vault`) does not matter."""


def _untagged(loader: _Reader, _suffix: str, node: Node) -> Any:
    if isinstance(node, ScalarNode):
        return loader.construct_scalar(node)
    return yaml.serialize(node)


_Reader.add_multi_constructor("!", _untagged)


def file_of(inventory: Path) -> Path:
    """The file of an inventory that lists its hosts.

    Args:
        inventory: that file, or the folder that holds it.

    Raises:
        InputError: there is none, there are several, or it is not YAML.
    """
    if not inventory.exists():
        raise InputError(f"{inventory}: no such inventory", "give its file or folder")
    files = [inventory]
    if inventory.is_dir():
        files = sorted(p for p in inventory.iterdir() if p.suffix in (".yml", ".yaml"))
    if len(files) != 1 or files[0].suffix not in (".yml", ".yaml"):
        named = ", ".join(p.name for p in files) or "none"
        raise InputError(
            f"{inventory}: not one YAML file that lists hosts ({named})",
            "give the path of the file that the node belongs in",
        )
    return files[0].resolve()


def add(text: str, name: str, groups: Sequence[str], variables: Mapping[str, Any]) -> str:
    """The text of an inventory with one host more.

    Args:
        text: of the inventory.
        name: the host.
        groups: where it belongs; none is the group `all` itself.
        variables: of the host.

    Raises:
        InputError: it is there already, a name is none, or the text cannot be edited.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r}: no name of a host", "use letters, digits, dots and hyphens")
    for group in groups:
        if not _GROUP.fullmatch(group) or group == "ungrouped":
            raise InputError(f"group {group!r}: no name of a group", "use letters, digits, _")
    found = dict(_hosts(_mapping(text)))
    if name in found:
        raise InputError(f"{name}: is in group {found[name]} already", "choose another name")
    for number, group in enumerate(groups or [ALL]):
        text = _add_to(text, group, name, variables if number == 0 else {})
    return text


def remove(text: str, name: str) -> str:
    """The text of an inventory without one host.

    Raises:
        InputError: it is not there, or the text cannot be edited.
    """
    written = [key for key, _ in _entries(_mapping(text)) if name in _expanded(key)]
    if not written:
        raise InputError(f"{name}: is not in it", "`ansible-inventory --graph -i PATH` lists hosts")
    for key in written:
        if key != name:
            raise InputError(f"{name}: is written as {key}", "write its hosts out, one a line")
        text = _without(text, name)
    return text


def edited(file: Path, change: Callable[[str], str]) -> str:
    """What a change makes of a file; nothing is written.

    Raises:
        InputError: the file cannot be read, or not be changed so.
    """
    try:
        return change(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}", "mend what is named") from error
    except InputError as error:
        raise InputError(f"{file}: {error.message}", error.mend) from error


def write(file: Path, text: str) -> None:
    """Put the new text in place, with the mode of the old."""
    write_file(file, text, file.stat().st_mode & 0o777)


def hosts(text: str) -> list[str]:
    """The hosts, ranges written out, each once."""
    return list(dict.fromkeys(name for name, _ in _hosts(_mapping(text))))


def _mapping(text: str) -> MappingNode:
    try:
        root = yaml.compose(text, _Reader)
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {error}", "mend what the message names") from error
    if root is None or (isinstance(root, ScalarNode) and not root.value):
        root = MappingNode("tag:yaml.org,2002:map", [])
    if not isinstance(root, MappingNode):
        raise InputError("not a mapping of groups", "see inventories/example/hosts.yml")
    return root


def _pairs(node: Node | None) -> Iterator[tuple[ScalarNode, Node]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode):
                yield key, value


def _get(node: Node | None, name: str) -> tuple[ScalarNode, Node] | None:
    return next((pair for pair in _pairs(node) if pair[0].value == name), None)


def _groups(node: Node | None) -> Iterator[tuple[ScalarNode, Node]]:
    """Every group that is written in a mapping of groups, those below others too."""
    for key, value in _pairs(node):
        yield key, value
        children = _get(value, "children")
        if children:
            yield from _groups(children[1])


def _entries(root: Node) -> Iterator[tuple[str, str]]:
    """Keys below `hosts`, as they are written, and their group."""
    for key, value in _groups(root):
        listed = _get(value, "hosts")
        for host, _ in _pairs(listed[1] if listed else None):
            yield host.value, key.value


def _expanded(key: str) -> list[str]:
    """The hosts that a key stands for.

    Ansible's own function is in its controller, whose import makes this process one.
    """
    match = _RANGE.search(key)
    if not match:
        return [key]
    first, last, step = match[1] or "0", match[2], int(match[3] or 1)
    if first in ascii_letters and last in ascii_letters:
        every = list(ascii_letters[ascii_letters.index(first) : ascii_letters.index(last) + 1])
    elif first.isdigit() and last.isdigit():
        width = len(first) if first.startswith("0") else 0
        every = [f"{number:0{width}}" for number in range(int(first), int(last) + 1)]
    else:
        raise InputError(f"{key}: not a range of hosts", "write it as node[1:4] or rack[a:c]")
    begin, rest = key[: match.start()], _expanded(key[match.end() :])
    return [f"{begin}{each}{end}" for each in every[::step] for end in rest]


def _hosts(root: Node) -> Iterator[tuple[str, str]]:
    for key, group in _entries(root):
        for name in _expanded(key):
            yield name, group


def _add_to(text: str, group: str, name: str, variables: Mapping[str, Any]) -> str:
    """One more host in one group, which is made below `all` where there is none."""
    root = _mapping(text)
    entry = {name: dict(variables) or None}
    found = next((pair for pair in _groups(root) if pair[0].value == group), None)
    if found:
        path, at, below = ["hosts"], *found
    elif whole := _get(root, ALL):
        path, at, below = ["children", group, "hosts"], *whole
    else:
        path = [ALL, "hosts"] if group == ALL else [ALL, "children", group, "hosts"]
        return _checked(_joined(text, [_block(path, entry, 0)]), text, group, name, variables)
    # As deep as the file goes already.
    while path and (deeper := _get(below, path[0])):
        at, below = deeper
        path = path[1:]
    first = next(_pairs(below), None)
    column = first[0].start_mark.column if first else at.start_mark.column + STEP
    lines = text.splitlines(keepends=True)
    # A comment above the first host stays above it, so the new one comes right under the key.
    place = at.start_mark.line + 1
    new = _joined("".join(lines[:place]), [_block(path, entry, column), *lines[place:]])
    return _checked(new, text, group, name, variables)


def _joined(text: str, rest: Sequence[str]) -> str:
    return (text + ("" if text.endswith("\n") or not text else "\n")) + "".join(rest)


def _block(path: Sequence[str], entry: Mapping[str, Any], column: int) -> str:
    """The lines of a host and of the keys above it that are missing."""
    data: Any = entry
    for key in reversed(path):
        data = {key: data}
    dumped = yaml.safe_dump(data, sort_keys=False, indent=STEP, width=10_000, allow_unicode=True)
    # Nothing is written for no variables, as in inventories that people write.
    lines = re.sub(r": null$", ":", dumped, flags=re.MULTILINE).splitlines(keepends=True)
    return "".join(" " * column + line for line in lines)


def _checked(new: str, old: str, group: str, name: str, variables: Mapping[str, Any]) -> str:
    """The new text, if it says what the old one did and the host besides.

    Raises:
        InputError: it does not.
    """
    before, after = _memberships(old), _memberships(new)
    for key, value in after.items():  # a group is made by the way
        before.setdefault(key, {} if key == group else value)
    before[group] = {**before[group], name: dict(variables)}
    return _same(before, after, new)


def _without(text: str, name: str) -> str:
    """The text without the first entry of a host."""
    root = _mapping(text)
    for key, value in _groups(root):
        group, listed = key.value, _get(value, "hosts")
        entry = _get(listed[1] if listed else None, name)
        if entry:
            break
    else:
        raise InputError(f"{name}: is not in it", _BY_HAND)
    first, last = entry[0].start_mark.line, max(_last_line(entry[1]), entry[0].end_mark.line)
    lines = text.splitlines(keepends=True)
    new = "".join(lines[:first] + lines[last + 1 :])
    wanted = _memberships(text)
    del wanted[group][name]
    return _same(wanted, _memberships(new), new)


def _last_line(node: Node) -> int:
    """The line on which the last word of a value stands."""
    if isinstance(node, ScalarNode):
        # A block of lines ends at the beginning of the line after it.
        return int(node.end_mark.line) - (node.style in ("|", ">"))
    if not isinstance(node, CollectionNode) or not node.value or node.flow_style:
        return int(node.end_mark.line)
    last = node.value[-1]
    return max(_last_line(part) for part in (last if isinstance(last, tuple) else (last,)))


def _same(wanted: Mapping[str, Any], found: Mapping[str, Any], text: str) -> str:
    if wanted != found:
        raise InputError("it is written in a way that cannot be edited safely", _BY_HAND)
    return text


def _memberships(text: str) -> dict[str, dict[str, Any]]:
    """What the text says of hosts, by group; and of groups' variables, under `group:vars`."""
    try:
        data = yaml.load(text, _Reader) or {}  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise InputError(f"it cannot be edited safely: {error}", _BY_HAND) from error
    said: dict[str, dict[str, Any]] = {}
    _collect(data, said, "")
    return said


def _collect(groups: Any, said: dict[str, dict[str, Any]], above: str) -> None:
    for group, content in (groups or {}).items():
        content = content or {}  # noqa: PLW2901 (an empty group is none of its keys)
        listed = said.setdefault(group, {})
        for host, variables in (content.get("hosts") or {}).items():
            listed[host] = {**listed.get(host, {}), **(variables or {})}
        said.setdefault(f"{group}:vars", {}).update(content.get("vars") or {})
        said.setdefault(f"{group}:above", {})[above] = True
        _collect(content.get("children"), said, group)
