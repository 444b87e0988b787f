"""Does a lock fit its stack? Reads both, resolves nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from landbridge.errors import BundleError, InputError
from landbridge.lock import Lock, load_lock
from landbridge.stack import Stack


def read_lock(path: Path, mend: str) -> Lock:
    """Read a lock that the user keeps beside the stack.

    Args:
        path: the file.
        mend: what makes it right, for the message.

    Raises:
        InputError: it is missing or not a lock.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such lock", mend)
    try:
        return load_lock(path)
    except BundleError as error:
        raise InputError(error.message, mend) from error


def wanted_of(stack: Stack) -> dict[str, Any]:
    """What a lock remembers of the stack: all that it wants, not where it comes from."""
    wanted = stack.model_dump(mode="json", exclude={"name", "sources"})
    wanted["r"]["projects"] = {project.file: project.pins for project in stack.r.projects}
    if not (stack.r.packages or stack.r.projects):
        # Which R nobody asks for is no difference.
        wanted["r"].pop("provider")
    return wanted


def faults(lock: Lock, stack: Stack) -> list[str]:
    """Why a lock does not fit a stack, one line for each difference; empty if it fits."""
    lines = []
    if lock.stack != stack.name:
        lines.append(f"name: {lock.stack} is locked, {stack.name} is wanted")
    for key, old, new in differences(lock.wanted, wanted_of(stack)):
        if isinstance(old, list) or isinstance(new, list):
            before, now = _shown(old), _shown(new)
            lines += [f"{key}: {name} is wanted but not locked" for name in now - before]
            lines += [f"{key}: {name} is locked but no longer wanted" for name in before - now]
        else:
            lines.append(f"{key}: {_word(old)} is locked, {_word(new)} is wanted")
    return sorted(lines)


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two wishes differ: dotted key, old and new value; lists are compared as sets.

    A key that is missing is the same as an empty one: wishes grow keys over time.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            below = f"{key}.{name}" if key else str(name)
            yield from differences(old.get(name), new.get(name), below)
    elif isinstance(old or new, dict):
        yield from differences(old or {}, new or {}, key)
    elif isinstance(old or new, list):
        if _shown(old) != _shown(new):
            yield key, old or [], new or []
    elif (old or None) != (new or None):
        yield key, old, new


def _shown(value: Any) -> set[str]:
    return {_word(item) for item in value or []}


def _word(value: Any) -> str:
    """A wish as people write it; one of a single key by that key's value."""
    if isinstance(value, dict) and len(value) == 1:
        return _word(*value.values())
    return value if isinstance(value, str) else json.dumps(value)
