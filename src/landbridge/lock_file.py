"""The lock beside a stack: where it is, checked, and read by what builds from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from landbridge import policy
from landbridge.errors import InputError
from landbridge.lock import Lock
from landbridge.lock_fit import faults, read_lock
from landbridge.stack import Stack, load_stack


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
