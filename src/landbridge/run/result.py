"""What became of a run: Ansible's events, summed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Event = Mapping[str, Any]

ERROR_MARKS = ("[ERROR]", "ERROR!")
KEPT_LINES = 5


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host."""

    host: str
    task: str
    path: str
    message: str


@dataclass
class RunResult:
    """Counts per host, failures and unreachable hosts; feed it every event of a run."""

    hosts: dict[str, dict[str, int]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    unreachable: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    tasks: int = 0
    changed: int = 0
    exit_code: int = 0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True if Ansible succeeded and at least one host took part."""
        return self.exit_code == 0 and bool(self.hosts)

    @property
    def only_unreachable(self) -> bool:
        """True if nodes were out of reach, and that is all."""
        failed = any(counts["failures"] for counts in self.hosts.values())
        return bool(self.unreachable) and not failed and not self.failures

    def add(self, event: Event) -> None:
        """Take one event of ansible-runner into account."""
        kind, data = event.get("event", ""), event.get("event_data", {})
        if kind == "playbook_on_task_start":
            self.tasks += 1
        elif kind == "runner_on_ok" and data.get("res", {}).get("changed"):
            self.changed += 1
        elif kind == "runner_on_failed" and not data.get("ignore_errors"):
            self.failures.append(_failure(data))
        elif kind == "runner_on_unreachable":
            self.unreachable[data["host"]] = _message(data.get("res", {}))
        elif kind == "playbook_on_stats":
            self._stats(data)
        elif kind in ("verbose", "error"):
            self.errors += [
                line
                for line in str(event.get("stdout", "")).splitlines()
                if line.startswith(ERROR_MARKS)
            ]

    def as_dict(self) -> dict[str, Any]:
        """The result for JSON."""
        return {"ok": self.ok, **asdict(self)}

    def report(self) -> list[str]:
        """What went wrong, each fault once; empty after success."""
        if self.ok:
            return []
        lines = [f"{host}: unreachable: {why}" for host, why in self.unreachable.items()]
        lines += [f"{f.host}: {f.task} ({f.path}): {f.message}" for f in self.failures]
        lines = lines or self.errors[-KEPT_LINES:]
        return lines or [
            "no host took part: the inventory is empty or --limit matches nothing"
            if self.exit_code == 0
            else f"ansible-playbook ended with {self.exit_code} and named no failure"
        ]

    def _stats(self, data: Mapping[str, Any]) -> None:
        kinds = ("ok", "changed", "failures", "dark", "skipped", "rescued", "ignored")
        for host in sorted(data.get("processed", {})):
            self.hosts[host] = {kind: int(data.get(kind, {}).get(host, 0)) for kind in kinds}
        # A failure that a rescue block healed is none.
        self.failures = [f for f in self.failures if self.hosts[f.host]["failures"]]


def _failure(data: Mapping[str, Any]) -> Failure:
    role = data.get("role")
    task = data.get("task", "")
    return Failure(
        host=data["host"],
        task=f"{role} : {task}" if role else task,
        path=data.get("task_path", ""),
        message=_message(data.get("res", {})),
    )


def _message(res: Mapping[str, Any]) -> str:
    """The words of a module's result; of a loop, those of the items that failed."""
    items = [r for r in res.get("results", []) if isinstance(r, Mapping) and r.get("failed")]
    if items:
        return "; ".join(_message(item) for item in items)
    parts = [str(res.get("msg", "")).strip(), str(res.get("stderr", "")).strip()]
    return "\n".join(part for part in parts if part) or "failed without a message"
