"""What looks like a secret stays out of every text."""

from __future__ import annotations

import pytest

from tests.unit.roles.modules import shared

secrets = shared("landbridge_docker_secrets")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_PASSWORD", "x"),
        ("POSTGRES_PASS", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("GITHUB_TOKEN", "x"),
        ("api-key", "x"),
        ("DATABASE_URL", "postgres://me:word@db/x"),
        ("TLS", "-----BEGIN PRIVATE KEY-----"),
        ("SENTRY_DSN", "x"),
    ],
)
def test_secrets_are_seen(name: str, value: str) -> None:
    assert secrets.is_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/bin"),
        ("PWD", "/srv"),
        ("DB_PASSWORD_FILE", "/run/secrets/db"),
        ("DB_PASSWORD", ""),
        ("URL", "https://example.org/x"),
        ("AUTHOR", "me"),
        ("MONKEY", "no"),
        ("LANG", "C"),
    ],
)
def test_others_are_not(name: str, value: str) -> None:
    assert not secrets.is_secret(name, value)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--password=hunter2", "-v"], ["--password=***", "-v"]),
        (["--token", "hunter2", "go"], ["--token", "***", "go"]),
        (["sh", "-c", "login --password hunter2 now"], ["sh", "-c", "login --password *** now"]),
        (["X_TOKEN=hunter2 run; ls"], ["X_TOKEN=*** run; ls"]),
        (["curl", "https://me:hunter2@example.org/"], ["curl", "https://***@example.org/"]),
        (["echo", "hunter2!"], ["echo", "***!"]),
        (["serve", "--port", "80"], ["serve", "--port", "80"]),
    ],
)
def test_command_lines_are_shown_without(words: list[str], shown: list[str]) -> None:
    assert secrets.without_all(words, ["hunter2"]) == shown


def test_json_is_shown_without() -> None:
    value = {"o": "username=u,password=hunter2,rw", "splunk-token": "hunter2", "n": [1, "a"]}
    shown = {"o": "username=u,password=***,rw", "splunk-token": "***", "n": [1, "a"]}
    assert secrets.within(value) == shown
