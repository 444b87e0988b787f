"""Make the lock of a stack, or update it: all ecosystems resolved, one file written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from landbridge import r_versions
from landbridge.access import Access
from landbridge.bundle import toolkit
from landbridge.bundle.fetch import Cache
from landbridge.ecosystems import Ecosystem, Learner, conda, cran, oci, pypi, rpm
from landbridge.ecosystems.pypi import canonical
from landbridge.errors import InputError, redact
from landbridge.files import full_disk_named, write_file
from landbridge.lock import Kept, Lock, Part, merge
from landbridge.lock_diff import Difference, diff
from landbridge.lock_file import Inputs, enforce_policy
from landbridge.lock_fit import read_lock, wanted_of
from landbridge.stack import Stack, load_stack
from landbridge.stages import Say, Tell, stage

# The longest to resolve come first, so that the short ones fill the gaps; but cran before rpm,
# for R packages need RPMs.
ECOSYSTEMS: dict[str, Ecosystem] = {
    "cran": cran,
    "toolkit": toolkit,
    "rpm": rpm,
    "pypi": pypi,
    "conda": conda,
    "images": oci,
}
# Resolvers are single-threaded programs, half of them waiting for the network.
RESOLVERS = 2


@dataclass(frozen=True)
class Locked:
    """What came of locking.

    Attributes:
        lock: the lock.
        changed: whether the file had to be written.
        difference: to the lock before; everything is added where there was none.
    """

    lock: Lock
    changed: bool
    difference: Difference = field(repr=False)


def lock_stack(
    inputs: Inputs,
    say: Say,
    *,
    tell: Tell = lambda _new, _total: None,
    names: Sequence[str] = (),
) -> Locked:
    """Resolve a stack and write its lock; one that says the same is not touched.

    Args:
        inputs: the files.
        say: takes one line of progress for each ecosystem.
        tell: takes bytes fetched since the last call, and bytes wanted; called by threads.
        names: only these are to change, and what they force; empty for everything.

    Raises:
        InputError: a file is wrong, or something wanted does not exist.
        SourceError: a source cannot be read, or its packages contradict each other.
        PolicyError: the policy forbids what was found; nothing is written.
    """
    stack = load_stack(inputs.stack_file, inputs.sources)
    store = Cache(inputs.cache, tell, Access(stack.sources.access))
    old = _old(inputs, needed=bool(names))
    with full_disk_named(inputs.cache, inputs.lock_path.parent):
        if names and old:
            lock = update(old, names, stack, store, say)
        else:
            lock = make_lock(stack, store, say)
        enforce_policy(inputs, lock)
        text = lock.dump().encode()
        changed = not inputs.lock_path.exists() or inputs.lock_path.read_bytes() != text
        if changed:
            write_file(inputs.lock_path, text)
    before = old or lock.model_copy(
        update={"artifacts": [], "environments": {}, "metadata": {}, "wanted": {}}
    )
    return Locked(lock, changed, diff(before, lock))


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
        InputError: something wanted does not exist, an R package is too new for a target's R,
            or a source's URL holds credentials.
        SourceError: a source cannot be read, or its packages contradict each other.
    """

    def part(name: str) -> Part:
        with stage(f"resolve {name}", say) as done:
            if name == "rpm":
                packages = parts["cran"].result() if "cran" in parts else Part([])
                found = rpm.resolve(stack, store, kept, _needed(packages))
            else:
                found = ECOSYSTEMS[name].resolve(stack, store, kept)
            done(f"{len(found.artifacts)} artifacts")
        return found

    with ThreadPoolExecutor(RESOLVERS) as pool:
        parts: dict[str, Future[Part]] = {}
        for name in ECOSYSTEMS:
            parts[name] = pool.submit(part, name)
        try:
            results = [future.result() for future in parts.values()]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    lock = merge(stack.name, stack.targets, results, wanted_of(stack))
    r_versions.refuse_too_old(lock)
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


def _needed(found: Part) -> rpm.Needed:
    """The RPMs that R packages need, with these as a lock names them."""
    return {
        target: {
            name: [f"cran:{package}" for package in packages] for name, packages in names.items()
        }
        for target, names in cran.system_requirements(found).items()
    }


def _old(inputs: Inputs, *, needed: bool) -> Lock | None:
    """The lock as it stands; None where there is none, or none that can be read."""
    try:
        return read_lock(inputs.lock_path, inputs.mend)
    except InputError:
        if needed:
            raise
        return None


def _wished(value: Any) -> set[str]:
    """Names of packages in wishes such as `numpy >=2`, `forge::numpy` and `tools/busybox:1`."""
    if isinstance(value, dict):
        return {name for below in value.values() for name in _wished(below)}
    if isinstance(value, list):
        return {name for below in value for name in _wished(below)}
    match = re.match(r"(?:[^\s:]+::)?([\w./+-]*\w)", str(value))
    return {match[1], canonical(match[1])} if match else set()


def _refuse_credentials(lock: Lock) -> None:
    bad = sorted(a.name for a in lock.artifacts if redact(a.url) != a.url)
    if bad:
        raise InputError(
            f"the source's URL holds credentials: {', '.join(bad)}",
            "put them into netrc: a lock and a bundle are for everyone to read",
        )
