"""The lock beside a stack: made, updated, checked, and read by what builds from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from landbridge import policy
from landbridge.access import Access
from landbridge.bundle.fetch import Cache, Tell
from landbridge.errors import InputError
from landbridge.files import full_disk_named, write_file
from landbridge.lock import Lock
from landbridge.lock_diff import Difference, diff
from landbridge.locking import faults, make_lock, read_lock, update
from landbridge.stack import Stack, load_stack
from landbridge.stages import Say


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a lock is made from and kept in.

    Attributes:
        stack_file: the stack's YAML file.
        cache: folder for what was fetched, kept between runs.
        sources: the sources file, where the stack has none of its own.
        lock_file: None for the stack's name with the suffix `.lock`.
        policy_file: None for `policy.yml` beside the stack, if it is there.
    """

    stack_file: Path
    cache: Path
    sources: Path | None = None
    lock_file: Path | None = None
    policy_file: Path | None = None

    @property
    def lock_path(self) -> Path:
        """Where the lock is or will be."""
        return self.lock_file or self.stack_file.with_suffix(".lock")

    @property
    def policy_path(self) -> Path | None:
        """The policy that counts; None for none."""
        beside = self.stack_file.with_name(policy.NAME)
        return self.policy_file or (beside if beside.exists() else None)

    @property
    def mend(self) -> str:
        """What to do about a lock that is missing or does not fit."""
        output = f" --output {self.lock_file}" if self.lock_file else ""
        return f"run `landbridge lock {self.stack_file}{output}`"


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


def check_lock(inputs: Inputs) -> list[str]:
    """Why the lock no longer fits the stack, one line each; nothing is fetched.

    Raises:
        InputError: the stack or the lock cannot be read.
        PolicyError: the lock fits, but the policy forbids what is in it.
    """
    stack = load_stack(inputs.stack_file, inputs.sources, complete=False)
    lock = read_lock(inputs.lock_path, inputs.mend)
    found = faults(lock, stack)
    if not found:
        enforce_policy(inputs, lock)
    return found


def fitting_lock(inputs: Inputs, stack: Stack) -> Lock:
    """The lock, which must be there and fit.

    Raises:
        InputError: it is missing, cannot be read or does not fit; every fault is named.
    """
    lock = read_lock(inputs.lock_path, inputs.mend)
    if found := faults(lock, stack):
        lines = "\n".join(f"  {line}" for line in found)
        raise InputError(
            f"{inputs.lock_path}: does not fit {inputs.stack_file}:\n{lines}", inputs.mend
        )
    return lock


def enforce_policy(inputs: Inputs, lock: Lock) -> None:
    """Hold a lock against the policy, if there is one.

    Raises:
        InputError: the policy cannot be read.
        PolicyError: it forbids something in the lock; every offender is named.
    """
    if inputs.policy_path is not None:
        rules = policy.load_policy(inputs.policy_path)
        policy.enforce(rules, lock, datetime.now(UTC).date())


def _old(inputs: Inputs, *, needed: bool) -> Lock | None:
    """The lock as it stands; None where there is none, or none that can be read."""
    try:
        return read_lock(inputs.lock_path, inputs.mend)
    except InputError:
        if needed:
            raise
        return None
