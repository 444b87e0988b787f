"""What changed from one lock to another, for people (text) and for programs (JSON)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from landbridge.lock import Artifact, Lock
from landbridge.lock_fit import differences


class Exact(NamedTuple):
    """Which of the packages of one name; `sha256` differs where a file was made anew."""

    version: str
    build: str
    sha256: str


@dataclass(frozen=True)
class Change:
    """One package, added (nothing before), removed (nothing after) or changed.

    Attributes:
        ecosystem: as in the lock.
        name: as in the lock.
        targets: for whom it changed; empty for conda, whose subdirs change along with builds.
        before: what was locked and is no longer.
        after: what is locked now and was not.
    """

    ecosystem: str
    name: str
    targets: tuple[str, ...]
    before: tuple[Exact, ...]
    after: tuple[Exact, ...]

    def __str__(self) -> str:
        name = " ".join([self.ecosystem, self.name, *(f"[{t}]" for t in self.targets)])
        if not self.before or not self.after:
            return f"{name} {_versions(self.before or self.after)}"
        old, new = _versions(self.before), _versions(self.after)
        if old == new:
            digests = [", ".join(e.sha256[:12] for e in side) for side in (self.before, self.after)]
            return f"{name} {old}: sha256 {digests[0]} -> {digests[1]}"
        return f"{name} {old} -> {new}"


@dataclass(frozen=True)
class Difference:
    """All changes, each list sorted by ecosystem and name.

    Attributes:
        added: packages that only the second lock has.
        removed: packages that only the first has.
        changed: packages of another version, build or content.
        other: what else the locks say differently, one line each.
    """

    added: list[Change] = field(default_factory=list)
    removed: list[Change] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def text(self) -> str:
        """One line for each change: `+`, `-`, `~` and `*` for the rest."""
        marked = (("+", self.added), ("-", self.removed), ("~", self.changed), ("*", self.other))
        return "".join(f"{mark} {change}\n" for mark, changes in marked for change in changes)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON; `added`, `removed` and `changed` by ecosystem."""
        data: dict[str, Any] = {"other": self.other}
        for kind in ("added", "removed", "changed"):
            by_ecosystem: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for change in getattr(self, kind):
                sides = {
                    side: [exact._asdict() for exact in getattr(change, side)]
                    for side in ("before", "after")
                }
                by_ecosystem[change.ecosystem].append(asdict(change) | sides)
            data[kind] = dict(by_ecosystem)
        return data


def diff(a: Lock, b: Lock) -> Difference:
    """What is different in `b`."""
    found = Difference(other=_other(a, b))
    for change in _changes(a, b):
        if not change.before:
            found.added.append(change)
        elif not change.after:
            found.removed.append(change)
        else:
            found.changed.append(change)
    return found


def _changes(a: Lock, b: Lock) -> list[Change]:
    """Targets in which a package changes alike are one change."""
    old, new = _exact(a), _exact(b)
    alike: dict[tuple[str, str, tuple[Exact, ...], tuple[Exact, ...]], list[str]] = defaultdict(
        list
    )
    for key in sorted({*old, *new}):
        before, after = old.get(key, set()), new.get(key, set())
        if before != after:
            ecosystem, name, target = key
            gone, come = tuple(sorted(before - after)), tuple(sorted(after - before))
            alike[ecosystem, name, gone, come].extend([target] if target else [])
    return [Change(e, n, tuple(t), gone, come) for (e, n, gone, come), t in alike.items()]


def _exact(lock: Lock) -> dict[tuple[str, str, str], set[Exact]]:
    """What is locked by ecosystem, name and target; an environment each may want its own."""
    found: dict[tuple[str, str, str], set[Exact]] = defaultdict(set)
    for artifact in lock.artifacts:
        targets = artifact.targets if artifact.ecosystem != "conda" else []
        for target in targets or [""]:
            exact = Exact(artifact.version, artifact.build, artifact.sha256)
            found[artifact.ecosystem, artifact.name, target].add(exact)
    return found


def _other(a: Lock, b: Lock) -> list[str]:
    lines = [f"wanted: {key}" for key, _, _ in differences(a.wanted, b.wanted)]
    lines += [f"environment: {name}" for name in _differing(a.environments, b.environments)]
    lines += [f"metadata: {name}" for name in _differing(a.metadata, b.metadata)]
    if (a.stack, a.targets) != (b.stack, b.targets):
        lines.append(f"stack: {_stack(a)} -> {_stack(b)}")
    before = {_identity(artifact): artifact for artifact in a.artifacts}
    for artifact in b.artifacts:
        same = before.get(_identity(artifact))
        if same is not None and same != artifact:
            fields = [k for k in Artifact.model_fields if getattr(same, k) != getattr(artifact, k)]
            lines.append(f"{artifact.ecosystem} {artifact.name}: {', '.join(fields)}")
    return lines


def _identity(artifact: Artifact) -> tuple[str, str, str]:
    return artifact.ecosystem, artifact.path, artifact.sha256


def _differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    return sorted(name for name in {*a, *b} if a.get(name) != b.get(name))


def _stack(lock: Lock) -> str:
    return f"{lock.stack} for {', '.join(lock.targets)}"


def _versions(exact: tuple[Exact, ...]) -> str:
    return ", ".join(f"{e.version} {e.build}".strip() for e in exact)
