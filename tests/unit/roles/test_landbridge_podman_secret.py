"""Module landbridge_podman_secret, with a Podman that only remembers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.modules import Runner, load, shared

TOKEN = {"name": "token", "value": "swordfish\nline two"}


class Podman:
    """Secrets by user and name; `argv` is all that a process list could have shown."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, tuple[str, str]]] = {}
        self.argv: list[str] = []
        self.made = 0

    def run(self, argv: list[str], account: Any, stdin: str = "") -> str:
        own = self.kept.setdefault(account.pw_name, {})
        self.argv += argv
        if argv[2] == "ls":
            return "".join(f"{name} {identity}\n" for name, (identity, _value) in own.items())
        if argv[2] == "rm":
            del own[argv[3]]
            return ""
        assert argv[3] not in own
        self.made += 1
        own[argv[3]] = (f"id{self.made}", stdin)
        return f"id{self.made}\n"


@pytest.fixture
def podman() -> Podman:
    return Podman()


@pytest.fixture
def run(
    podman: Podman,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Runner:
    module = load("podman", "landbridge_podman_secret")
    monkeypatch.setattr(module, "run", podman.run)
    monkeypatch.setattr(module, "can_ask", lambda _account: True)
    monkeypatch.setattr(module, "account_of", account)
    monkeypatch.setattr(module, "RECORD", tmp_path / "secrets.json")
    monkeypatch.setattr(module, "ROUNDS", 1000)
    return Runner(module, capsys)


def account(name: str) -> Any:
    if name not in ("root", "alice"):
        raise shared("landbridge_podman").CommandError(f"user {name} does not exist")
    return SimpleNamespace(pw_name=name)


def test_a_secret_is_made_once_and_never_told(run: Runner, podman: Podman, tmp_path: Path) -> None:
    answer = run(secrets=json.dumps([TOKEN, {**TOKEN, "user": "alice"}]))
    assert answer["renewed"] == ["alice/token", "root/token"]
    assert podman.kept["alice"]["token"][1] == TOKEN["value"]
    record = tmp_path / "secrets.json"
    assert record.stat().st_mode & 0o777 == 0o600
    for said in (json.dumps(answer), record.read_text(), " ".join(podman.argv)):
        assert "swordfish" not in said
    assert run(secrets=json.dumps([TOKEN, {**TOKEN, "user": "alice"}]))["changed"] is False


def test_a_new_value_is_handed_over(run: Runner, podman: Podman) -> None:
    run(secrets=json.dumps([TOKEN]))
    other = json.dumps([{**TOKEN, "value": "other"}])
    assert run(secrets=other, check=True)["renewed"] == ["root/token"]
    assert podman.kept["root"]["token"][1] == TOKEN["value"]
    assert run(secrets=other)["renewed"] == ["root/token"]
    assert podman.kept["root"]["token"][1] == "other"
    assert run(secrets=other)["changed"] is False


def test_what_somebody_else_has_put_there_is_replaced(run: Runner, podman: Podman) -> None:
    run(secrets=json.dumps([TOKEN]))
    podman.kept["root"]["token"] = ("theirs", "x")
    assert run(secrets=json.dumps([TOKEN]))["renewed"] == ["root/token"]
    assert podman.kept["root"]["token"][1] == TOKEN["value"]


def test_dropped_secrets_of_ours_go(run: Runner, podman: Podman) -> None:
    run(secrets=json.dumps([TOKEN]))
    podman.kept["root"]["theirs"] = ("id", "x")
    answer = run(secrets="[]")
    assert answer["removed"] == ["root/token"]
    assert list(podman.kept["root"]) == ["theirs"]
    assert run(secrets="[]")["changed"] is False


def test_an_interrupted_run_is_resumed(run: Runner, podman: Podman) -> None:
    def run_or_die(argv: list[str], account: Any, stdin: str = "") -> str:
        if podman.made == 1 and argv[2] == "create":
            raise OSError("killed")
        return podman.run(argv, account, stdin)

    both = json.dumps([TOKEN, {"name": "second", "value": "x"}])
    run.module.run = run_or_die  # type: ignore[attr-defined]
    assert "killed" in run(secrets=both)["msg"]
    run.module.run = podman.run  # type: ignore[attr-defined]
    assert run(secrets=both)["renewed"] == ["root/second"]


def test_a_fresh_node_is_predicted(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.module, "can_ask", lambda _account: False)
    assert run(secrets=json.dumps([TOKEN]), check=True)["renewed"] == ["root/token"]
    assert "not installed" in run(secrets=json.dumps([TOKEN]))["msg"]


def test_a_gone_users_secrets_are_forgotten(
    run: Runner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(secrets=json.dumps([{**TOKEN, "user": "alice"}]))
    monkeypatch.setattr(run.module, "can_ask", lambda _account: False)
    assert run(secrets="[]")["removed"] == ["alice/token"]
    assert json.loads((tmp_path / "secrets.json").read_text()) == {}


def test_numbers_are_secrets_too(run: Runner, podman: Podman) -> None:
    run(secrets='[{"name": "pin", "value": 1234}]')
    assert podman.kept["root"]["pin"][1] == "1234"
