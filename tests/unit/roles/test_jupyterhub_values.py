"""Role jupyterhub's validate.yml refuses bad variables, by name and with the mend.

A row of BAD is a variable, a value, and words that the message must have.
"""

from typing import Any

import pytest

from tests.unit.roles.validation import Validation

NODE = {
    "landbridge": {"conda": {"environments": [{"name": "ds", "kernel": "Python"}]}},
    "fqdn": "hub.example.org",
    "hostname": "hub",
    "cacheable": True,
}
HUB = Validation("jupyterhub", NODE, "validate.yml", "brought.yml")

PROFILE: dict[str, Any] = {"name": "a", "memory": "4G", "cpu": 0.5, "default": True}
BAD: list[tuple[str, Any, str]] = [
    ("jupyterhub_address", "0.0.0.0", "jupyterhub_tls_self_signed"),
    ("jupyterhub_tls_key", "/etc/pki/hub.key", "needs both"),
    ("jupyterhub_tls_certificate", "/etc/pki/hub.pem", "needs both"),
    ("jupyterhub_allowed_groups", [], "nobody could log in"),
    ("jupyterhub_tls_names", [], "at least one"),
    ("jupyterhub_tls_names", ["a,DNS:b"], "DNS names and addresses"),
    ("jupyterhub_hsts_seconds", -1, "or 0"),
    ("jupyterhub_secrets_generation", "../x", "letters, digits"),
    ("jupyterhub_database_url", "mysql://hub:word@127.0.0.1/hub", "postgresql://USER:WORD@HOST"),
    ("jupyterhub_database_url", "postgresql://hub:word@db.example.org/hub", "sslmode=verify-full"),
    ("jupyterhub_database_url", "postgresql://hub:word@localhost.evil/hub", "sslmode=verify-full"),
    ("jupyterhub_backup_folder", "var/backups", "a directory of its own"),
    # The role would close it to everybody.
    ("jupyterhub_backup_folder", "/srv", "a directory of its own"),
    ("jupyterhub_backup_keep", 0, "a number from 1 on"),
    ("jupyterhub_cull_idle_seconds", 60, "900 or more"),
    ("jupyterhub_cull_idle_seconds", 3600, "add it to the packages"),
    ("jupyterhub_cull_max_age_seconds", 60, "together with jupyterhub_cull_idle_seconds"),
    ("jupyterhub_cull_max_age_seconds", -1, "or 0 for never"),
    ("jupyterhub_cull_kernel_seconds", -1, "from 0 on"),
    ("jupyterhub_named_servers", -1, "from 0 on"),
    ("jupyterhub_image", "notebook", "full name of an image"),
    ("jupyterhub_image_command", [], "starts jupyterhub-singleuser"),
    ("jupyterhub_image_readable", ["srv/data"], "absolute paths"),
    ("jupyterhub_image_writable", ["/srv/data:rw"], "without a colon"),
    ("jupyterhub_starts_at_once", -1, "from 0 on"),
    ("jupyterhub_queue_seconds", 0, "seconds above 0"),
    ("jupyterhub_server_seconds", 10, "30 seconds or more"),
    ("jupyterhub_profiles", [PROFILE, PROFILE], "each name once"),
    ("jupyterhub_profiles", [PROFILE, PROFILE | {"name": "b"}], "one profile at most"),
    ("jupyterhub_profiles", [PROFILE | {"memory": "4 GB"}], "memory as 4G"),
    ("jupyterhub_profiles", [PROFILE | {"cpu": 0}], "a number above 0"),
    ("jupyterhub_profiles", [PROFILE | {"devices": ["nvidia0"]}], "below /dev"),
    ("jupyterhub_metrics_group", "", "or root"),
    ("jupyterhub_environment", "/no/such/environment", "run the role conda first"),
]
CONTAINERS = {"jupyterhub_spawner": "podman", "jupyterhub_image": "localhost/tools/notebook:1"}
# What a bad value is bad with.
WITH: dict[str, dict[str, Any]] = {
    "jupyterhub_image": {"jupyterhub_spawner": "podman"},
    "jupyterhub_image_command": CONTAINERS,
    "jupyterhub_tls_names": {"jupyterhub_tls_self_signed": True},
}
# Besides the defaults.
GOOD: dict[str, Any] = {
    "jupyterhub_address": "0.0.0.0",
    "jupyterhub_tls_self_signed": True,
    "jupyterhub_tls_names": ["hub.example.org", "192.0.2.1", "2001:db8::1"],
    "jupyterhub_hsts_seconds": 0,
    "jupyterhub_secrets_generation": "2026-11",
    "jupyterhub_database_url": "postgresql://hub:word@db.example.org:5433/hub?sslmode=verify-full",
    "jupyterhub_admin_groups": ["hub-admins"],
    "jupyterhub_cull_idle_seconds": 900,
    "jupyterhub_cull_max_age_seconds": 86400,
    "jupyterhub_profiles": [PROFILE, {"name": "gpu", "groups": ["g"], "devices": ["/dev/nvidia0"]}],
}
# Named by a rule as an example of what else may be true, never wrong by itself.
FREE = {"jupyterhub_admin_groups", "jupyterhub_spawner", "jupyterhub_tls_self_signed"}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of the defaults, of GOOD, and of each row of BAD."""
    folder = tmp_path_factory.mktemp("validate")
    (folder / "hub").mkdir()
    (folder / "hub/current").symlink_to(folder)
    (folder / "bin").mkdir()
    (folder / "bin/jupyterhub-idle-culler").touch()
    (folder / "lib/python3.11/site-packages/psycopg2").mkdir(parents=True)
    there = {"jupyterhub_environment": str(folder / "hub")}
    bad = [
        (variable, {variable: value} | WITH.get(variable, {})) for variable, value, _words in BAD
    ]
    return HUB.judge([there, there | GOOD], bad, folder)


def test_defaults_and_good_values_pass(said: list[str]) -> None:
    assert said[:2] == ["", ""]


@pytest.mark.parametrize("row", range(len(BAD)), ids=[f"{v}-{i}" for i, (v, *_) in enumerate(BAD)])
def test_bad_value_is_refused_by_name_and_with_the_mend(said: list[str], row: int) -> None:
    variable, _value, words = BAD[row]
    assert variable in said[2 + row]
    assert words in said[2 + row]


def test_every_variable_that_is_judged_has_a_row() -> None:
    assert HUB.judged() - {variable for variable, *_ in BAD} - FREE == set()
