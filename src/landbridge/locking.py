"""Make a lock, see whether it still fits its stack, update it, compare two."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from landbridge.bundle import toolkit
from landbridge.ecosystems import Ecosystem, Learner, conda, cran, oci, pypi, rpm
from landbridge.ecosystems.pypi import canonical
from landbridge.errors import BundleError, InputError, redact
from landbridge.lock import Kept, Lock, Part, load_lock, merge
from landbridge.stack import Stack
from landbridge.stages import Say, stage

# The longest to resolve come first, so that the short ones fill the gaps.
ECOSYSTEMS: dict[str, Ecosystem] = {
    "toolkit": toolkit,
    "rpm": rpm,
    "pypi": pypi,
    "conda": conda,
    "cran": cran,
    "images": oci,
}
# Resolvers are single-threaded programs, half of them waiting for the network.
RESOLVERS = 2


def make_lock(stack: Stack, store: Learner, say: Say, kept: Kept | None = None) -> Lock:
    """Resolve what a stack wants, all ecosystems side by side; the first fault ends it.

    Args:
        stack: with its sources.
        store: fetches what the sources' indexes do not tell.
        say: takes one line for each ecosystem.
        kept: an older lock, of which only what it names may change, and what that forces.

    Returns:
        The same lock for the same stack and the same metadata at the sources.

    Raises:
        InputError: something wanted does not exist, or a source's URL holds credentials.
        SourceError: a source cannot be read, or its packages contradict each other.
    """

    def part(name: str) -> Part:
        with stage(f"resolve {name}", say) as done:
            found = ECOSYSTEMS[name].resolve(stack, store, kept)
            done(f"{len(found.artifacts)} artifacts")
        return found

    with ThreadPoolExecutor(RESOLVERS) as pool:
        parts = [pool.submit(part, name) for name in ECOSYSTEMS]
        try:
            results = [future.result() for future in parts]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    lock = merge(stack.name, stack.targets, results, wanted_of(stack))
    _refuse_credentials(lock)
    return lock


def update(old: Lock, names: Iterable[str], stack: Stack, store: Learner, say: Say) -> Lock:
    """Lock anew, with everything as `old` has it but what is named and what that forces.

    Args:
        old: the lock until now.
        names: of locked packages, or of what the stack wants since.
        stack: with its sources.
        store: fetches what the sources' indexes do not tell.
        say: takes one line for each ecosystem.

    Raises:
        InputError: a name is neither locked nor wanted; and what `make_lock` raises.
    """
    known = {artifact.name for artifact in old.artifacts} | _wished(wanted_of(stack))
    if unknown := sorted(set(names) - known):
        raise InputError(
            f"not in the lock and not wanted: {', '.join(unknown)}",
            "name packages as the lock names them",
        )
    return make_lock(stack, store, say, Kept(old, frozenset(names)))


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
    return stack.model_dump(mode="json", exclude={"name", "sources"})


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


def _wished(value: Any) -> set[str]:
    """Names of packages in wishes such as `numpy >=2`, `forge::numpy` and `tools/busybox:1`."""
    if isinstance(value, dict):
        return {name for below in value.values() for name in _wished(below)}
    if isinstance(value, list):
        return {name for below in value for name in _wished(below)}
    match = re.match(r"(?:[^\s:]+::)?([\w./+-]*\w)", str(value))
    return {match[1], canonical(match[1])} if match else set()


def _shown(value: Any) -> set[str]:
    return {_word(item) for item in value or []}


def _word(value: Any) -> str:
    """A wish as people write it; one of a single key by that key's value."""
    if isinstance(value, dict) and len(value) == 1:
        return _word(*value.values())
    return value if isinstance(value, str) else json.dumps(value)


def _refuse_credentials(lock: Lock) -> None:
    bad = sorted(a.name for a in lock.artifacts if redact(a.url) != a.url)
    if bad:
        raise InputError(
            f"the source's URL holds credentials: {', '.join(bad)}",
            "put them into netrc: a lock and a bundle are for everyone to read",
        )
