"""The hub's state: backups, PostgreSQL instead of SQLite, older and newer schemas, new secrets.

One story on one node: each test goes on where the one before ended.
"""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.e2e.conftest import BIN, PATIENCE_SECONDS, Ended, LabNode, must, run, until
from tests.e2e.hub_client import Client
from tests.lab import nodes, postgresql

PASSWORD = "a%3Aword%40of/it"  # as in the address; what it stands for is below
PLAIN = "a:word@of/it"
URL = f"postgresql://hub:{PASSWORD.replace('/', '%2F')}@127.0.0.1/hub"
TEAM = {"name": "pricing", "members": ["alice"]}
FOLDER = "/srv/teams/pricing"
BACKUPS = "/var/lib/landbridge/jupyterhub-backups"
# JupyterHub's schema before the one that it has now.
PREVIOUS = "ff1860e38070"
TO_PREVIOUS = (
    "ALTER TABLE spawners DROP COLUMN display_name",
    "UPDATE alembic_version SET version_num = 'ff1860e38070'",
)
CONFIGURATION = "/etc/landbridge/jupyterhub"
BEFORE_MIGRATION = """
import json
from landbridge_hub import backup
backup.before_migration(*(json.load(open(f"{name}.json")) for name in ("values", "teams")))
"""
USERS = """
for user in alice bob; do
  useradd -m -G landbridge-users $user && echo "$user:$user's own" | chpasswd
done
"""

pytestmark = pytest.mark.usefixtures("mitogen")


def logged_in(url: str, name: str) -> Client:
    client = Client(url)
    assert client.log_in(name) == 200
    return client


def converge(node: LabNode, **variables: Any) -> None:
    """Converge the hub with these variables besides the team."""
    (node.folder / "group_vars").mkdir(exist_ok=True)
    chosen = {"jupyterhub_teams": [TEAM], **variables}
    (node.folder / "group_vars/all.yml").write_text(yaml.safe_dump(chosen))
    must(node.apply("--tags", "preflight,jupyterhub"))


def operate(node: LabNode, verb: str, *options: str) -> Ended:
    """A verb of the hub's operations, asked of the node."""
    return run(BIN / "landbridge", verb, "--inventory", node.inventory(), "--json", *options)


def answer(node: LabNode, ended: Ended) -> Any:
    """What a verb said of the node."""
    output = must(ended)
    return json.loads(output[output.index("{\n") :])["nodes"][node.name]


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/hub/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def node(boot: Callable[..., LabNode], bundle: Path, hub_image: str) -> LabNode:
    """A node with a hub on SQLite."""
    made = boot("hub-state", "el10", bundle, hub_image)
    must(made.run(USERS))
    converge(made)
    return made


@pytest.fixture(scope="module")
def url(node: LabNode) -> Iterator[str]:
    with nodes.forwarded(node.name, 8000) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def alice(url: str) -> Client:
    """Her session with the first hub."""
    return logged_in(url, "alice")


@pytest.fixture(scope="module")
def token(alice: Client) -> str:
    """What her programs show to the hub."""
    return str(alice.api("POST", "/users/alice/tokens").raise_for_status().json()["token"])


def whose(url: str, token: str) -> str | None:
    """Whom the hub takes the bearer of a token for."""
    found = httpx.get(f"{url}/hub/api/user", headers={"Authorization": f"token {token}"})
    return found.json()["name"] if found.is_success else None


def revision(node: LabNode) -> str:
    return postgresql.query(node.name, "SELECT version_num FROM alembic_version", "hub")


def backups(node: LabNode, reason: str) -> list[str]:
    return must(node.run(f"find {BACKUPS} -mindepth 1 -name '*-{reason}' | sort")).split()


@pytest.fixture(scope="module")
def backup(node: LabNode, token: str) -> str:
    """A backup of the hub on SQLite, with the team's files."""
    assert token
    must(node.run(f"runuser -l alice -c 'echo of before > {FOLDER}/plan.txt'"))
    return str(answer(node, operate(node, "backup", "--files"))["backup"])


def test_a_backup_has_what_the_hub_and_its_teams_have(node: LabNode, backup: str) -> None:
    content = json.loads(must(node.run(f"cat {backup}/hub.json")))
    assert "alice" in [user["name"] for user in content["tables"]["users"]]
    assert content["teams"]["team-pricing"]["folder"] == FOLDER
    assert "pricing/plan.txt" in must(node.run(f"tar -tf {backup}/folders.tar.gz")).split()
    assert must(node.run(f"cd {backup} && sha256sum --quiet --check SHA256SUMS")) == ""


def test_nobody_else_reads_it(node: LabNode, backup: str) -> None:
    assert node.run(f"runuser -l alice -c 'ls {backup}'").code != 0
    assert must(node.run(f"find {backup} -perm /077")) == ""


def test_the_hub_moves_to_postgresql_with_new_secrets(
    node: LabNode, url: str, alice: Client, backup: str
) -> None:
    assert backup
    postgresql.start(node.name, "hub", PLAIN)
    converge(node, jupyterhub_database_url=URL, jupyterhub_secrets_generation="2")
    assert alice.api("GET", "/user").status_code == 403
    assert postgresql.query(node.name, "SELECT name FROM users", "hub") == "team-pricing"
    assert healthy(url)


def test_the_databases_password_is_the_hubs_alone(node: LabNode) -> None:
    for form in (PLAIN, PASSWORD):
        word = shlex.quote(form)
        places = "/etc /run /var/lib/landbridge /var/log/landbridge"
        found = node.run(f"runuser -u alice -- grep -rFls {word} {places}").output.split()
        assert found == []
        assert node.run(f"ps axww -o args | grep -F {word} | grep -v grep").output == ""
        assert node.run(f"journalctl -q | grep -F {word}").output == ""


def test_what_sqlite_knew_is_restored_into_postgresql(
    node: LabNode, url: str, token: str, backup: str
) -> None:
    assert whose(url, token) is None
    must(node.run(f"echo of after > {FOLDER}/plan.txt"))
    (before,) = [
        each
        for each in answer(node, operate(node, "restore", backup))["before"]
        if each.startswith(FOLDER)
    ]
    assert whose(url, token) == "alice"
    assert must(node.run(f"cat {FOLDER}/plan.txt {before}/plan.txt")) == "of before\nof after\n"
    assert must(node.run(f"stat -c '%U %G %a' {FOLDER}")) == "team-pricing team-pricing 2770\n"
    assert "default:group::rwx" in must(node.run(f"getfacl -p {FOLDER}"))
    # Rows of today get numbers that no row of then has.
    assert logged_in(url, "bob").api("GET", "/user").json()["name"] == "bob"


def test_a_user_reaches_nothing_of_anothers(node: LabNode, url: str, token: str) -> None:
    headers = {"Authorization": f"token {token}"}
    user = f"{url}/hub/api/users/alice"
    started = httpx.post(f"{user}/server", headers=headers, timeout=PATIENCE_SECONDS)
    assert started.status_code in (201, 202)

    def ready() -> bool:
        servers = httpx.get(user, headers=headers, timeout=PATIENCE_SECONDS).json()["servers"]
        return bool(servers.get("", {}).get("ready"))

    until(ready, "her server")
    bob = logged_in(url, "bob")
    assert bob.http.get("/user/alice/api/contents").status_code in (403, 404)
    for method in ("GET", "DELETE"):
        assert bob.api(method, "/users/alice/server").status_code in (403, 404, 405)
    server = must(node.run("systemctl show -P MainPID jupyter-alice-singleuser")).strip()
    variables = must(node.run(f"tr '\\0' '\\n' < /proc/{server}/environ")).splitlines()
    (direct,) = [each.partition("=")[2] for each in variables if "_SERVICE_URL=" in each]
    ask = f"curl -s -o /dev/null -w '%{{http_code}}' {direct}api/contents"
    assert must(node.run(f"runuser -u bob -- {ask}")) == "403"


def test_an_unprivileged_user_reads_no_secret(node: LabNode, backup: str) -> None:
    hub = must(node.run("systemctl show -P MainPID landbridge-hub")).strip()
    server = must(node.run("systemctl show -P MainPID jupyter-alice-singleuser")).strip()
    places = ["~alice", "/var/lib/landbridge/jupyterhub", backup, f"/proc/{hub}/environ"]
    places += ["/etc/landbridge/jupyterhub/secrets", f"/proc/{server}/environ"]
    for place in places:
        script = f"if [ -d {place} ]; then ls {place}; else head -c 1 {place}; fi"
        read = node.run(f"runuser -u bob -- sh -c {shlex.quote(script)}")
        assert read.code != 0, place
        assert "Permission denied" in read.output, place


def test_nothing_is_restored_under_users_hands(node: LabNode, backup: str) -> None:
    refused = operate(node, "restore", backup)
    assert refused.code == 1
    assert "jupyter-alice-singleuser.service" in refused.output
    assert "landbridge drain --now" in refused.output
    assert answer(node, operate(node, "drain", "--now"))["users"]
    answer(node, operate(node, "drain", "--undo"))


def test_a_backup_that_was_changed_is_refused(node: LabNode, url: str, backup: str) -> None:
    must(node.run(f"cp -a {backup} {backup}-changed && echo >> {backup}-changed/hub.json"))
    refused = operate(node, "restore", f"{backup}-changed")
    assert refused.code == 1
    assert f"{backup}-changed/hub.json is not as it was written" in refused.output
    assert healthy(url)


def test_an_older_schema_is_migrated_after_a_backup(node: LabNode, url: str, token: str) -> None:
    now = revision(node)
    # JupyterHub has a transaction open whenever it runs, and that keeps tables as they are.
    must(node.run("systemctl stop landbridge-hub"))
    for statement in TO_PREVIOUS:
        postgresql.query(node.name, statement, "hub")
    # As a hub whose migration fails, and which systemd starts again and again.
    python = (
        json.loads(must(node.run(f"cat {CONFIGURATION}/values.json")))["prefix"] + "/bin/python"
    )
    for _ in range(2):
        must(node.run(f"cd {CONFIGURATION} && {python} -c '{BEFORE_MIGRATION}'"))
    must(node.run("systemctl start landbridge-hub"))
    until(lambda: healthy(url) and whose(url, token) == "alice", "the hub is back")
    assert revision(node) == now
    (made,) = backups(node, "migration")
    content = json.loads(must(node.run(f"cat {made}/hub.json")))
    assert content["revision"] == PREVIOUS
    assert "alice" in [user["name"] for user in content["tables"]["users"]]
    refused = operate(node, "restore", made)
    assert refused.code == 1
    assert "make that release current" in refused.output


def test_a_newer_schema_is_refused_and_a_backup_leads_back(
    node: LabNode, url: str, token: str, backup: str
) -> None:
    postgresql.query(node.name, "UPDATE alembic_version SET version_num = 'fffffffffff'", "hub")
    node.run("systemctl restart landbridge-hub")
    words = "journalctl -q -u landbridge-hub | grep -c 'schema fffffffffff of a newer JupyterHub'"
    until(lambda: node.run(words).code == 0, "the journal says why")
    answer(node, operate(node, "restore", backup))
    until(lambda: healthy(url) and whose(url, token) == "alice", "the hub is back")


def test_the_timers_backups_are_few(node: LabNode) -> None:
    assert must(node.run("systemctl is-enabled landbridge-hub-backup.timer")).strip() == "enabled"
    must(node.run("sed -i s/--keep=7/--keep=1/ /etc/systemd/system/landbridge-hub-backup.service"))
    must(node.run("systemctl daemon-reload"))
    # As one that was killed has left it.
    must(node.run(f"mkdir {BACKUPS}/.2026-11-30T012000.000000Z-schedule"))
    for _ in range(2):
        must(node.run("systemctl start landbridge-hub-backup.service"))
    (kept,) = backups(node, "schedule")
    assert "alice" in must(node.run(f"cat {kept}/hub.json"))


def test_a_database_that_is_away_is_named(node: LabNode) -> None:
    must(node.run("systemctl stop postgresql"))
    ended = operate(node, "backup")
    must(node.run("systemctl start postgresql"))
    assert ended.code == 1
    assert "the hub's database" in ended.output
    assert "onnection refused" in ended.output
    assert PLAIN not in ended.output
    assert must(node.run(f"find {BACKUPS} -mindepth 1 -maxdepth 1 -name '.*'")) == ""


def test_the_hub_survives_a_restart_of_its_database(node: LabNode, url: str, token: str) -> None:
    must(node.run("systemctl restart postgresql"))
    assert whose(url, token) == "alice"
