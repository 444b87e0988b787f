"""Who may log in, and as whom: PAM, a real LDAP directory, a real OpenID provider, one after the
other on a node with no route out whose umask is 077.

The tests are one story: each goes on where the one before ended.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.conftest import BIN, LabNode, must, run, until
from tests.e2e.hub_client import Client
from tests.lab import authority, directory, holder, nodes, provider

AREAS = "preflight,toolkit,repositories,conda,jupyterhub"
PORT = 8443
HUB, LOGIN = "hub.example.org", "login.example.org"
SUFFIX = directory.SUFFIX
# Both are for root alone, and nobody else may come across what is in them.
BIND_FILE, CLIENT_FILE = "/etc/landbridge/ldap-password", "/etc/landbridge/oidc-secret"
BIND_PASSWORD = "bind-4tWq-of-the-lab"
CA = "/etc/pki/lab-authority.pem"
PATIENCE = 90

pytestmark = pytest.mark.usefixtures("mitogen")
MAKE_USERS = """
sed -i 's/^UMASK.*/UMASK 077/' /etc/login.defs
groupadd landbridge-users; groupadd hub-admins
useradd -M -G landbridge-users paul; useradd -M -G hub-admins rita; useradd -M quinn
useradd -M -G wheel ops; useradd -M -G landbridge-users -d /proc/sue sue
for user in paul rita quinn ops sue; do echo "$user:$user's own" | chpasswd; done
mkdir -m 0755 -p /etc/landbridge
"""
COMMON = {"jupyterhub_address": "0.0.0.0", "jupyterhub_port": PORT}
COMMON |= {"jupyterhub_tls_self_signed": True, "jupyterhub_admin_groups": ["hub-admins"]}
SMALL = {"name": "small", "memory": "2G", "default": True}
LDAP = {
    "jupyterhub_authenticator": "ldap",
    "jupyterhub_accounts": "created",
    "jupyterhub_allowed_groups": ["analysts"],
    # As the directory may write it, too.
    "jupyterhub_admin_groups": [f"CN=hub-admins, ou=Groups,{SUFFIX}"],
    # Nobody answers at the first one.
    "jupyterhub_ldap_servers": ["ldaps://localhost:1636", "ldaps://localhost"],
    "jupyterhub_ldap_bind_dn": f"cn=reader,{SUFFIX}",
    "jupyterhub_ldap_bind_password_file": BIND_FILE,
    "jupyterhub_ldap_user_base": f"ou=people,{SUFFIX}",
    "jupyterhub_ldap_user_filter": "(objectClass=inetOrgPerson)",
    "jupyterhub_ldap_group_base": f"ou=groups,{SUFFIX}",
    "jupyterhub_login_ca": CA,
    "jupyterhub_profiles": [SMALL, {"name": "large", "memory": "4G", "groups": ["large"]}],
    "jupyterhub_teams": [{"name": "risk", "login_group": "risk"}],
}
# Names in the directory besides the users of the story: the node's own, and somebody else's.
TAKEN = ("root", "nobody", "landbridge-culler", "ops", "team-risk")
PEOPLE = ("dora", "erik", "fay", "hal", *TAKEN)
# hal's distinguished name has what a template would stumble over.
DNS = {name: f"uid={name},ou=people,{SUFFIX}" for name in PEOPLE}
DNS["hal"] = f"cn=Hal {{0}}\\2C junior,ou=people,{SUFFIX}"
GROUPS = {
    "analysts": ["dora", "hal", *TAKEN],
    "hub-admins": ["fay"],
    "risk": ["dora", "ops"],
    # Called like the account of a team, and no way to its server.
    "team-risk": ["hal"],
}

by_ldap = pytest.mark.usefixtures("ldap")


def entry(dn: str, *lines: str) -> str:
    return "\n".join([f"dn: {dn}", *lines, "", ""])


def person(name: str) -> str:
    known = ("objectClass: inetOrgPerson", f"cn: {name}", f"sn: {name}", f"uid: {name}")
    cn = ("cn: Hal {0}, junior",) if name == "hal" else ()
    return entry(DNS[name], *known, *cn, f"userPassword: {name}'s own")


ENTRIES = "".join(
    [
        entry(
            SUFFIX, "objectClass: dcObject", "objectClass: organization", "dc: example", "o: lab"
        ),
        *(
            entry(f"ou={ou},{SUFFIX}", "objectClass: organizationalUnit", f"ou: {ou}")
            for ou in ("people", "groups")
        ),
        entry(
            f"cn=reader,{SUFFIX}",
            "objectClass: organizationalRole",
            "objectClass: simpleSecurityObject",
            "cn: reader",
            f"userPassword: {BIND_PASSWORD}",
        ),
        *map(person, PEOPLE),
        *(
            entry(
                f"cn={name},ou=groups,{SUFFIX}",
                "objectClass: groupOfNames",
                f"cn: {name}",
                *(f"member: {DNS[member]}" for member in members),
            )
            for name, members in GROUPS.items()
        ),
        entry(
            f"cn=large,ou=groups,{SUFFIX}",
            "objectClass: posixGroup",
            "cn: large",
            "gidNumber: 5000",
            "memberUid: dora",
        ),
    ]
)


@dataclass(frozen=True)
class Hub:
    """A node with a hub, and the way there."""

    node: LabNode
    url: str

    def client(self) -> Client:
        """A browser without cookies."""
        return Client(self.url)

    def logged_in(self, name: str) -> Client:
        """A browser in which somebody has logged in."""
        client = self.client()
        assert client.log_in(name) == 200, self.events()[-1]
        assert client.user()["name"] == name
        return client

    def events(self) -> list[dict[str, Any]]:
        """Who did what."""
        said = must(self.node.run("journalctl -u landbridge-hub -o cat"))
        return [json.loads(line) for line in said.splitlines() if line.startswith('{"event"')]

    def assert_refused(self, event: str, user: str) -> None:
        """The last refusal of a kind is somebody's; other servers may have stopped since."""
        assert [e["user"] for e in self.events() if e["event"] == event][-1] == user

    def converge(self, **variables: Any) -> None:
        """Apply the roles with other variables."""
        (self.node.folder / "group_vars").mkdir(exist_ok=True)
        file = self.node.folder / "group_vars/all.yml"
        first = not file.exists()
        file.write_text(yaml.safe_dump(COMMON | variables))
        must(self.node.apply("--tags", AREAS if first else "preflight,jupyterhub"))

    def account(self, name: str) -> list[str]:
        """Its line of the node's accounts."""
        return must(self.node.run(f"getent passwd {name}")).strip().split(":")

    def assert_runs_at_home(self, name: str) -> None:
        """A server runs as its user, in a home that nobody else can read."""
        home = self.account(name)[5]
        told = must(self.node.run(f"stat -c '%U %a' {home} {home}/.bashrc"))
        assert told.split("\n")[0] == f"{name} 700"
        assert told.split("\n")[1].startswith(f"{name} ")
        unit = f"jupyter-{name}-singleuser.service"
        pid = must(self.node.run(f"systemctl show -P MainPID {unit}")).strip()
        assert must(self.node.run(f"ps -o user= -p {pid}")).strip() == name

    def assert_secret(self, secret: str, file: str) -> None:
        """A secret is in its file and nowhere else that others see, or that is kept."""
        node, look = self.node, f"grep -F -f {file}"
        assert must(node.run(f"cat {file}")).strip() == secret
        assert must(node.run(f"stat -c %a {file}")).strip() == "600"
        places = "/etc /run /var/lib/landbridge /var/log /opt/landbridge/share /home /tmp"
        assert node.run(f"{look} -rls {places}").output.split() == [file]
        for seen in ("journalctl", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null"):
            assert node.run(f"({seen}) | {look} -ac").output == "0\n", seen


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> authority.Authority:
    """The enterprise's authority, which the machines' systems do not know."""
    return authority.authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def hub(boot: Callable[..., LabNode], bundle: Path, ca: authority.Authority) -> Iterator[Hub]:
    """A hub with PAM, whose users have accounts and no homes."""
    node = boot("identity", "el10", bundle)
    must(node.run(MAKE_USERS))
    must(node.run(f"mkdir -p /etc/pki; cat >{CA} <<'EOT'\n{ca.certificate.read_text()}EOT"))
    must(node.bootstrap())
    with nodes.forwarded(node.name, PORT) as port:
        made = Hub(node, f"https://127.0.0.1:{port}")
        made.converge()
        yield made


@pytest.fixture(scope="module")
def ldap(hub: Hub, ca: authority.Authority) -> directory.Directory:
    """The hub asks a directory; the password of who looks users up is in a file of root's."""
    started = directory.start(hub.node.name, ca.issue("DNS:localhost"), ENTRIES)
    must(hub.node.run(f"umask 077; echo '{BIND_PASSWORD}' >{BIND_FILE}"))
    hub.converge(**LDAP)
    return started


def leave(ldap: directory.Directory, group: str, name: str, instead: str = "erik") -> None:
    """Somebody else is in a group of the directory now."""
    dn = f"cn={group},ou=groups,{SUFFIX}"
    changes = ("changetype: modify", "add: member", f"member: {DNS[instead]}", "-")
    ldap.change(entry(dn, *changes, "delete: member", f"member: {DNS[name]}"))


def test_pam_refuses_a_wrong_password_and_who_is_in_no_group(hub: Hub) -> None:
    assert hub.client().log_in("paul", "guessed") == 403
    assert hub.client().log_in("quinn") == 403
    assert hub.client().log_in("ops") == 403
    assert {event["event"] for event in hub.events()} == {"login refused"}
    assert [event["user"] for event in hub.events()] == ["paul", "quinn", "ops"]


def test_pam_users_get_their_homes_at_the_first_start(hub: Hub) -> None:
    assert must(hub.node.run("umask")).strip() == "0022"
    paul = hub.logged_in("paul")
    assert hub.node.run("test -e /home/paul").code != 0
    paul.start("paul")
    hub.assert_runs_at_home("paul")
    assert [event["event"] for event in hub.events()][-2:] == ["login", "start"]


def test_a_home_that_cannot_be_made_is_said(hub: Hub) -> None:
    refused = hub.logged_in("sue").api("POST", "/users/sue/server")
    assert "/proc/sue could not be made" in refused.text
    hub.assert_refused("start refused", "sue")


def test_pam_administrators_who_leave_the_group_are_none(hub: Hub) -> None:
    assert hub.logged_in("rita").user()["admin"]
    must(hub.node.run("gpasswd -d rita hub-admins; gpasswd -a rita landbridge-users"))
    assert not hub.logged_in("rita").user()["admin"]


def test_pam_users_who_leave_all_groups_stay_out(hub: Hub) -> None:
    must(hub.node.run("gpasswd -d paul landbridge-users"))
    assert hub.client().log_in("paul") == 403


@by_ldap
def test_ldap_lets_members_in_and_makes_their_account(hub: Hub) -> None:
    assert hub.client().log_in("dora", "guessed") == 403
    assert hub.client().log_in("erik") == 403
    assert hub.node.run("getent passwd dora || getent passwd erik").code != 0
    dora = hub.client()
    assert dora.log_in(" DORA", "dora's own") == 200
    assert dora.user()["name"] == "dora"
    assert not dora.user()["admin"]
    assert set(dora.user()["groups"]) == {"analysts", "risk", "large", "team-risk"}
    account = hub.account("dora")
    assert 1000 <= int(account[2]) < 60000
    assert account[4] == "Landbridge user"
    assert must(hub.node.run("getent shadow dora")).split(":")[1] == "!"
    assert must(hub.node.run("id -nG dora")).split() == ["dora"]
    # The hub's own umask is 077; everybody has to read these.
    files = "/etc/passwd /etc/group /etc/subuid"
    assert must(hub.node.run(f"stat -c %a {files}")).split() == ["644"] * 3
    dora.start("dora", profile="large")
    hub.assert_runs_at_home("dora")


@by_ldap
def test_ldap_finds_users_whatever_their_distinguished_name(hub: Hub) -> None:
    assert set(hub.logged_in("hal").user()["groups"]) == {"analysts"}


@by_ldap
@pytest.mark.parametrize(
    "name",
    ["*", "dora)(uid=*", "dora)(|(uid=*", "*)(uid=dora", "../dora", "d\\6fra", "-dora", ""],
)
def test_ldap_takes_no_name_for_a_filter(hub: Hub, name: str) -> None:
    assert hub.client().log_in(name, "dora's own") in (400, 403)


@by_ldap
@pytest.mark.parametrize("name", TAKEN)
def test_ldap_takes_over_no_account(hub: Hub, name: str) -> None:
    before = hub.account(name)
    assert hub.client().log_in(name) == 403
    hub.assert_refused("login refused", name)
    assert hub.account(name) == before


@by_ldap
def test_ldap_groups_choose_profiles_and_teams(hub: Hub) -> None:
    hal, dora = hub.logged_in("hal"), hub.logged_in("dora")
    assert hal.api("POST", "/users/hal/server", profile="large").status_code == 403
    assert hal.api("POST", "/users/team-risk/server").status_code in (403, 404)
    assert dora.api("POST", "/users/team-risk/server").is_success
    until(
        lambda: dora.api("GET", "/users/team-risk").json()["servers"].get("", {}).get("ready"),
        "the team's server",
    )


def test_ldap_groups_follow_at_the_next_login(hub: Hub, ldap: directory.Directory) -> None:
    leave(ldap, "risk", "dora")
    dora = hub.logged_in("dora")
    assert set(dora.user()["groups"]) == {"analysts", "large"}
    assert dora.api("POST", "/users/team-risk/server").status_code in (403, 404)
    leave(ldap, "analysts", "dora")
    assert hub.client().log_in("dora") == 403
    assert hub.logged_in("erik").user()["groups"]
    # What the node says of an account holds, too.
    must(hub.node.run("usermod --expiredate 1 erik"))
    assert hub.client().log_in("erik") == 403
    must(hub.node.run("usermod --expiredate '' erik"))


def test_ldap_administrators_who_leave_the_group_are_none(
    hub: Hub, ldap: directory.Directory
) -> None:
    assert hub.logged_in("fay").user()["admin"]
    leave(ldap, "hub-admins", "fay", "hal")
    leave(ldap, "analysts", "hal", "fay")
    assert not hub.logged_in("fay").user()["admin"]
    assert hub.logged_in("hal").user()["admin"]


@by_ldap
def test_ldap_password_is_where_it_was_put(hub: Hub) -> None:
    hub.assert_secret(BIND_PASSWORD, BIND_FILE)


# Logs in by the hub's own code with other settings than the hub's; prints whom that is, or why not.
ONCE = """
import asyncio, json, sys
sys.path.insert(0, "/etc/landbridge/jupyterhub")
from traitlets.config import Config
from landbridge_hub import login_ldap
values = json.load(open("/etc/landbridge/jupyterhub/values.json"))

def ask(ldap, ca, name, password):
    login = {"ldap": values["login"]["ldap"] | ldap, "ca": ca}
    c = Config()
    made = login_ldap.configure(c, values | {"login": login})(config=c)
    data = {"username": name, "password": password}
    try:
        return (asyncio.run(made.get_authenticated_user(None, data)) or {}).get("name")
    except Exception as error:
        return str(error)

print(json.dumps([ask(*case) for case in json.load(open("/tmp/cases.json"))]))
"""
OWN = {"user_dn": f"uid={{username}},ou=people,{SUFFIX}", "bind_dn": "", "user_base": ""}
START_TLS, BY_ADDRESS = {"servers": ["ldap://localhost"]}, {"servers": ["ldap://127.0.0.1"]}
# Settings, authorities, name, password; a part of what comes of it.
CASES: list[tuple[dict[str, Any], str, str, str, str]] = [
    (START_TLS, CA, "hal", "hal's own", "hal"),
    (BY_ADDRESS, CA, "hal", "hal's own", "doesn't match"),
    (START_TLS, "/etc/landbridge/jupyterhub/tls/hub.pem", "hal", "hal's own", "verify failed"),
    (BY_ADDRESS | {"plain_text": True}, CA, "hal", "hal's own", "hal"),
    (OWN, CA, "fay", "fay's own", "fay"),
    (OWN, CA, "fay,ou=people", "fay's own", "None"),
    (OWN, CA, "fay", " ", "None"),
    ({"bind_password_file": "/etc/hostname"}, CA, "hal", "hal's own", "None"),
]


@by_ldap
def test_ldap_by_other_settings(hub: Hub) -> None:
    python = "/opt/landbridge/envs/jupyterhub/current/bin/python"
    cases = json.dumps([case[:4] for case in CASES])
    must(hub.node.run(f"cat >/tmp/cases.json <<'EOT'\n{cases}\nEOT"))
    told = json.loads(must(hub.node.run(f"{python} - <<'EOT'\n{ONCE}EOT")).splitlines()[-1])
    for case, answer in zip(CASES, told, strict=True):
        assert case[4] in str(answer), case


@by_ldap
def test_ldap_that_does_not_answer_is_no_wrong_password(hub: Hub) -> None:
    must(hub.node.run(f"systemctl stop {directory.UNIT}"))
    assert hub.client().log_in("erik") == 503
    hub.assert_refused("login refused", "erik")


@pytest.fixture(scope="module")
def oidc(
    hub: Hub, ca: authority.Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[provider.Provider]:
    """The hub sends browsers to a provider."""
    log = tmp_path_factory.mktemp("provider") / "log"
    callback = f"https://{HUB}:{PORT}/hub/oauth_callback"
    with provider.running(ca.issue(f"DNS:{LOGIN}"), callback, log) as started:
        must(hub.node.run(f"echo '{provider.HOST} {LOGIN}' >>/etc/hosts"))
        must(hub.node.run(f"umask 077; echo '{started.secret}' >{CLIENT_FILE}"))
        url = f"https://{LOGIN}:{provider.PORT}"
        hub.converge(
            jupyterhub_authenticator="oidc",
            jupyterhub_accounts="created",
            jupyterhub_allowed_groups=["scientists"],
            jupyterhub_login_ca=CA,
            jupyterhub_oidc_authorize_url=f"{url}/oauth2/authorize",
            jupyterhub_oidc_token_url=f"{url}/oauth2/token",
            jupyterhub_oidc_userdata_url=f"{url}/userinfo",
            jupyterhub_oidc_logout_url=f"{url}/oauth2/end_session",
            jupyterhub_oidc_callback_url=callback,
            jupyterhub_oidc_client_id=started.client,
            jupyterhub_oidc_client_secret_file=CLIENT_FILE,
            jupyterhub_oidc_name="the lab's login",
        )
        yield started


@pytest.fixture(scope="module")
def browser(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Debian's Chromium in the nodes' network, where hub and provider are two sites."""
    start = tmp_path_factory.mktemp("browser") / "chromium"
    inside = " ".join(holder.enter("-n"))
    start.write_text(f'#!/bin/sh\nexec {inside} {shutil.which("chromium")} "$@"\n')
    start.chmod(0o755)
    places = {HUB: nodes.find(hub.node.name).host, LOGIN: provider.HOST}
    rules = ",".join(f"MAP {name} {address}" for name, address in places.items())
    with sync_playwright() as playwright:
        # The tests run as root, where Chromium has no sandbox.
        browser = playwright.chromium.launch(
            executable_path=start, args=["--no-sandbox", f"--host-resolver-rules={rules}"]
        )
        yield browser
        browser.close()


def sign_in(browser: Browser, user: str) -> Page:
    """From the hub's page to the provider's and back; the page that it ends at."""
    page = browser.new_page(ignore_https_errors=True)
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(f"https://{HUB}:{PORT}/hub/login?next=%2Fhub%2Fhome")
    page.get_by_role("button", name="Sign in with the lab's login").click()
    page.wait_for_url(lambda url: url.startswith(f"https://{LOGIN}:"))
    assert "code_challenge_method=S256" in page.url
    page.locator("input[name=sub]").fill(user)
    page.locator("button[type=submit]").first.click()
    page.wait_for_url(lambda url: url.startswith(f"https://{HUB}:"))
    return page


def of_hub(page: Page) -> dict[str, Any]:
    """What the hub knows of who is logged in."""
    page.goto(f"https://{HUB}:{PORT}/hub/home")
    token = page.evaluate("document.cookie.split('; ').find(c => c.startsWith('_xsrf=')).slice(6)")
    ask = "token => fetch('/hub/api/user', {headers: {'X-XSRFToken': token}}).then(a => a.json())"
    answer: dict[str, Any] = page.evaluate(ask, token)
    return answer


def assert_refused(page: Page) -> None:
    expect(page.get_by_role("heading", name="not currently authorized")).to_be_visible()


def test_oidc_lets_members_in_by_a_round_trip(
    hub: Hub, oidc: provider.Provider, browser: Browser
) -> None:
    oidc.tell("1001", {"preferred_username": "Ida", "groups": ["scientists", "large"]})
    page = sign_in(browser, "1001")
    page.locator("#start").click()
    expect(page.locator("#main.jp-LabShell")).to_be_visible(timeout=PATIENCE * 1000)
    hub.assert_runs_at_home("ida")
    assert of_hub(page)["groups"] == ["large", "scientists"]
    assert not of_hub(page)["admin"]
    page.goto(f"https://{HUB}:{PORT}/hub/logout")
    assert page.url.startswith(f"https://{LOGIN}:{provider.PORT}/oauth2/end_session")


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("jack", ["others"]),
        ("jack", "scientists of elsewhere"),
        ("jack", None),
        ("root", ["scientists"]),
        ("ops", ["scientists"]),
        ("../ida", ["scientists"]),
    ],
)
def test_oidc_refuses(
    hub: Hub, oidc: provider.Provider, browser: Browser, name: str, groups: Any
) -> None:
    oidc.tell("1002", {"preferred_username": name, "groups": groups})
    assert_refused(sign_in(browser, "1002"))
    hub.assert_refused("login refused", name)


def test_oidc_groups_and_rights_follow_at_the_next_login(
    oidc: provider.Provider, browser: Browser
) -> None:
    told = {"preferred_username": "kay"}
    oidc.tell("1003", told | {"groups": ["hub-admins"]})
    assert of_hub(sign_in(browser, "1003"))["admin"]
    oidc.tell("1003", told | {"groups": ["scientists"]})
    kay = of_hub(sign_in(browser, "1003"))
    assert (kay["admin"], kay["groups"]) == (False, ["scientists"])
    oidc.tell("1003", told | {"groups": []})
    assert_refused(sign_in(browser, "1003"))


def test_oidc_secret_is_where_it_was_put(hub: Hub, oidc: provider.Provider) -> None:
    hub.assert_secret(oidc.secret, CLIENT_FILE)


@pytest.mark.usefixtures("oidc")
def test_the_node_is_as_promised(hub: Hub) -> None:
    verify = [BIN / "landbridge", "verify", "--inventory", hub.node.inventory(), "--host", "all"]
    assert CLIENT_FILE in must(run(*verify, "--only", "login,jupyterhub", "--json"))


def test_no_packet_was_meant_for_outside(hub: Hub) -> None:
    assert nodes.packets(hub.node.name) == 0
