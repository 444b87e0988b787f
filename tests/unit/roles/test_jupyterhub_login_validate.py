"""Role jupyterhub refuses bad variables of logins, by name and with the mend.

A row of BAD is a variable, a value, and words that the message must have; LDAP and OIDC are what
else is true.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.validation import Validation

HUB = Validation("jupyterhub", {"cacheable": True}, "login_validate.yml")

LDAP: dict[str, Any] = {
    "jupyterhub_authenticator": "ldap",
    "jupyterhub_ldap_servers": ["ldaps://ldap1.example.org", "ldap://[2001:db8::1]:389"],
    "jupyterhub_ldap_bind_dn": "cn=reader,dc=example,dc=org",
    "jupyterhub_ldap_user_base": "ou=people,dc=example,dc=org",
    "jupyterhub_ldap_group_base": "ou=groups,dc=example,dc=org",
}
URLS = ("authorize", "token", "userdata")
OIDC: dict[str, Any] = {
    "jupyterhub_authenticator": "oidc",
    "jupyterhub_accounts": "created",
    "jupyterhub_login_days": 0.5,
    **{f"jupyterhub_oidc_{url}_url": f"https://login.example.org/{url}" for url in URLS},
    "jupyterhub_oidc_client_id": "hub",
    "jupyterhub_oidc_callback_url": "https://hub.example.org/hub/oauth_callback",
}
BAD: list[tuple[dict[str, Any], str, Any, str]] = [
    ({}, "jupyterhub_authenticator", "kerberos", "pam, ldap or oidc"),
    ({}, "jupyterhub_accounts", "made", "existing or created"),
    ({}, "jupyterhub_login_days", 0, "as 14 or 0.5"),
    (LDAP, "jupyterhub_ldap_servers", [], "at least one"),
    (LDAP, "jupyterhub_ldap_servers", ["ldap.example.org"], "StartTLS"),
    (LDAP, "jupyterhub_ldap_servers", ["ldapi:///"], "StartTLS"),
    (
        LDAP | {"jupyterhub_ldap_servers": ["ldaps://ldap.example.org"]},
        "jupyterhub_ldap_plain_text",
        True,
        "take it out",
    ),
    (LDAP, "jupyterhub_ldap_user_base", "", "give one of them"),
    (LDAP, "jupyterhub_ldap_user_dn", "uid={username},ou=people", "give one of them"),
    (LDAP | {"jupyterhub_ldap_user_base": ""}, "jupyterhub_ldap_user_dn", "uid=x", "{username}"),
    (LDAP, "jupyterhub_ldap_user_attribute", "uid)(x", "in parentheses"),
    (LDAP, "jupyterhub_ldap_user_filter", "objectClass=person", "in parentheses"),
    (LDAP, "jupyterhub_ldap_group_filter", "(member=*)", "{userdn}"),
    (LDAP, "jupyterhub_ldap_group_base", "", "nobody would be in"),
    (LDAP, "jupyterhub_ldap_bind_dn", "", "both or neither"),
    (LDAP, "jupyterhub_ldap_bind_password_file", "", "both or neither"),
    (LDAP, "jupyterhub_ldap_bind_password_file", "/no/such/file", "chmod 0600"),
    (LDAP, "jupyterhub_login_ca", "/no/such/file", "PEM file"),
    *((OIDC, f"jupyterhub_oidc_{url}_url", "http://login", "https://") for url in URLS),
    (OIDC, "jupyterhub_oidc_logout_url", "/bye", "https://"),
    (OIDC, "jupyterhub_oidc_callback_url", "https://hub.example.org/", "/hub/oauth_callback"),
    (OIDC, "jupyterhub_oidc_client_id", "", "has issued"),
    (OIDC, "jupyterhub_oidc_client_secret_file", "", "has issued"),
    (OIDC, "jupyterhub_oidc_client_secret_file", "/etc/hostname", "chmod 0600"),
    (OIDC, "jupyterhub_oidc_scope", ["profile"], "have openid"),
    (OIDC, "jupyterhub_oidc_username_claim", "", "leave none empty"),
    (OIDC, "jupyterhub_oidc_groups_claim", "", "leave none empty"),
    (OIDC, "jupyterhub_oidc_name", "", "leave none empty"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is said of the defaults, of LDAP and OIDC, and of each row of BAD."""
    folder: Path = tmp_path_factory.mktemp("validate")
    secret, ca = folder / "secret", folder / "ca.pem"
    secret.touch(mode=0o600)
    ca.touch()
    files = {
        "jupyterhub_ldap_bind_password_file": str(secret),
        "jupyterhub_oidc_client_secret_file": str(secret),
        "jupyterhub_login_ca": str(ca),
    }
    own = {"jupyterhub_ldap_user_base": "", "jupyterhub_ldap_user_dn": "uid={username},dc=org"}
    own |= {"jupyterhub_ldap_bind_dn": "", "jupyterhub_ldap_bind_password_file": ""}
    good = [{}, files | LDAP, files | OIDC, files | LDAP | own]
    bad = [(variable, files | base | {variable: value}) for base, variable, value, _words in BAD]
    return HUB.judge(good, bad, folder)


def test_defaults_and_good_values_pass(said: list[str]) -> None:
    assert said[:4] == [""] * 4


@pytest.mark.parametrize(
    "row", range(len(BAD)), ids=[f"{v}-{i}" for i, (_, v, *_) in enumerate(BAD)]
)
def test_bad_value_is_refused_by_name_and_with_the_mend(said: list[str], row: int) -> None:
    _base, variable, _value, words = BAD[row]
    assert variable in said[4 + row]
    assert words in said[4 + row]


def test_every_variable_that_is_judged_has_a_row() -> None:
    assert HUB.judged() - {variable for _, variable, *_ in BAD} == set()
