"""What machines answer that are or become nodes: module `landbridge_node`, typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from landbridge.errors import NodeError
from landbridge.run.result import Failure, RunResult

MODULE = "landbridge_node"
_REACH = "look at its address, port, host key and user with `ssh -v`"
_BECOME = "let the user become root: sudo without a password, or ansible_become_password"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Problem(_Part):
    """What keeps a machine from being a node, and the mend."""

    problem: str
    mend: str


class Found(_Part):
    """A machine that was reached and looked at by root."""

    release: str
    python: str
    clock_seconds: int
    free_mib: dict[str, int]
    problems: list[Problem]


class Seen(_Part):
    """One machine: what was found, None where nobody came so far, and every problem."""

    found: Found | None
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether it can be a node."""
        return self.found is not None and not self.problems

    def report(self, name: str) -> str:
        """A line for people, and two for each problem."""
        lines = [f"{name}: " + ("good" if self.ok else "not good")]
        if self.found:
            free = ", ".join(
                f"{place} {mib} MiB free" for place, mib in self.found.free_mib.items()
            )
            lines[0] += f": {self.found.release}, Python {self.found.python}, {free}"
        for problem in self.problems:
            lines += [f"  {problem.problem}", f"    mend: {problem.mend}"]
        return "\n".join(lines)


def seen(result: RunResult, answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Seen]:
    """Every machine of a run.

    Raises:
        NodeError: an answer is not one of this version's module, or nobody took part.
    """
    names = {*answers, *result.unreachable, *(failure.host for failure in result.failures)}
    if not names:
        raise NodeError(
            "\n".join(result.report()), "`ansible-inventory --graph -i PATH` lists hosts"
        )
    return {
        name: _of(name, answers.get(name), result.unreachable.get(name), result.failures)
        for name in sorted(names)
    }


def _of(
    name: str,
    answer: Mapping[str, Any] | None,
    unreachable: str | None,
    failures: Sequence[Failure],
) -> Seen:
    if answer is not None:
        try:
            found = Found.model_validate(answer["node"])
        except (KeyError, ValidationError) as error:
            raise NodeError(f"{name}: not an answer of module {MODULE}: {error}") from error
        return Seen(found=found, problems=found.problems)
    if unreachable is not None:
        what = f"it cannot be reached over SSH: {unreachable}"
        return Seen(found=None, problems=[Problem(problem=what, mend=_REACH)])
    own = [failure for failure in failures if failure.host == name]
    told = "; ".join(failure.message for failure in own)
    # The first task runs as the user who logs in, the second as root.
    if any("Reach" in failure.task for failure in own):
        mend = "install python3 there, or set ansible_python_interpreter"
        return Seen(found=None, problems=[Problem(problem=f"no Python there: {told}", mend=mend)])
    return Seen(found=None, problems=[Problem(problem=f"no root by become: {told}", mend=_BECOME)])
