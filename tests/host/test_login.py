"""How users log in, as far as a node can be asked without somebody's password."""

import json

import pytest

from landbridge.facts.node import Node

SETTINGS = "/etc/landbridge/jupyterhub/values.json"
HOME = "landbridge-home@landbridge-check.service"
# What the login page has for each kind of login.
SHOWN = {"pam": 'name="password"', "ldap": 'name="password"', "oidc": "/hub/oauth_login"}

on_hubs = pytest.mark.usefixtures("hub")


@on_hubs
def test_login_page_is_of_the_promised_kind(node: Node) -> None:
    settings = json.loads(node.output("cat", SETTINGS))
    kind = settings["login"]["authenticator"]
    assert kind == node.promised("jupyterhub_login")["authenticator"]
    url = f"http://127.0.0.1:{settings['hub_port']}/hub/login"
    assert SHOWN[kind] in node.output("curl", "--silent", "--fail", "--noproxy", "*", url)


def test_login_secret_is_roots_alone(node: Node, login_secret: str) -> None:
    assert node.output("stat", "--format", "%U %a", login_secret).strip() in {
        "root 600",
        "root 400",
    }


@on_hubs
def test_homes_can_be_made_and_not_by_the_hub(node: Node) -> None:
    assert node.output("systemctl", "show", "-P", "LoadState", HOME).strip() == "loaded"
    assert node.run("test", "-x", "/usr/sbin/mkhomedir_helper").rc == 0
    hub = node.output("systemctl", "show", "-P", "ProtectHome", "landbridge-hub.service")
    assert hub.strip() == "read-only"
