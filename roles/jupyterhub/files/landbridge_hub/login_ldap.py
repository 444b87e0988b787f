"""Login by the password of an LDAP directory, which also says who is in which group."""

import asyncio
import ssl
from pathlib import Path

from ldap3 import (
    AUTO_BIND_NO_TLS,
    AUTO_BIND_TLS_BEFORE_BIND,
    BASE,
    NONE,
    SUBTREE,
    Connection,
    Server,
    Tls,
)
from ldap3.core.exceptions import LDAPBindError, LDAPExceptionError, LDAPInvalidDnError
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import parse_dn
from ldapauthenticator import LDAPAuthenticator
from tornado.web import HTTPError
from traitlets import Bool, List, Unicode

from landbridge_hub import login_groups
from landbridge_hub.account_rules import NAME

# Until another server is asked, and until an answer is given up.
CONNECT_SECONDS = 5
ANSWER_SECONDS = 20


class DirectoryAuthenticator(login_groups.GroupAuthenticator, LDAPAuthenticator):
    """The package's way to find and check users; several servers, TLS that is checked, groups."""

    servers = List(Unicode(), help="ldap:// and ldaps:// URLs, in order.").tag(config=True)
    plain_text = Bool(False, help="ldap:// stays without TLS.").tag(config=True)
    ca = Unicode(help="PEM file of the authorities that servers' certificates are from.").tag(
        config=True
    )
    group_base = Unicode(help="Where groups are.").tag(config=True)
    group_filter = Unicode(help="Finds the groups of {userdn}, of {username}.").tag(config=True)

    async def authenticate(self, handler, data):
        """As the base class; in a thread, since it waits for the directory."""
        data = {**data, "username": self.normalize_username(data["username"])}
        try:
            model = await asyncio.to_thread(asyncio.run, super().authenticate(handler, data))
        except LDAPExceptionError as error:
            self.log.error("LDAP: %s", error)
            said = HTTPError(503, "LDAP: %s", error)
            said.jupyterhub_message = "The directory does not answer. Try again later."
            raise said from error
        if model is None:
            return None
        groups = model["auth_state"]["user_attributes"]["groups"]
        names = sorted({name for _, name in groups})
        return {"name": model["name"], "groups": names, "distinguished": [dn for dn, _ in groups]}

    def groups_of(self, model):
        """Their names and their distinguished names."""
        return {*model["groups"], *map(canonical, model["distinguished"])}

    def get_connection(self, userdn, password):
        """A bound connection to the first server that answers; None for a wrong password.

        The base class knows one server, checks no certificate, and follows referrals with the
        password to wherever they lead.
        """
        failed = None
        for url in self.servers:
            try:
                return self.connection(url, userdn, password)
            except LDAPBindError:
                return None
            except LDAPExceptionError as error:
                self.log.warning("%s: %s", url, error)
                failed = error
        raise failed

    def connection(self, url, userdn, password):
        """A connection to one server, bound."""
        wrapped = url.startswith("ldaps://")
        plain = self.plain_text and not wrapped
        tls = None if plain else Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=self.ca)
        return Connection(
            Server(url, tls=tls, connect_timeout=CONNECT_SECONDS, get_info=NONE),
            user=userdn,
            password=password,
            auto_bind=AUTO_BIND_NO_TLS if wrapped or plain else AUTO_BIND_TLS_BEFORE_BIND,
            auto_referrals=False,
            receive_timeout=ANSWER_SECONDS,
            read_only=True,
        )

    def resolve_username(self, username_supplied_by_user):
        """As the base class, which goes on to format the name it gets."""
        name, dn = super().resolve_username(username_supplied_by_user)
        return name, dn and dn.replace("{", "{{").replace("}", "}}")

    def get_user_attributes(self, conn, userdn):
        """The user's groups; the base class asks as soon as the password has proved right."""
        if self.lookup_dn:
            conn = self.get_connection(self.lookup_dn_search_user, self.lookup_dn_search_password)
        # The name as the directory writes it: memberUid tells capitals apart.
        conn.search(userdn, "(objectClass=*)", BASE, attributes=[self.user_attribute])
        names = [name for _, name in first_values(conn, self.user_attribute)]
        wanted = self.group_filter.format(
            userdn=escape_filter_chars(userdn),
            # Without one: what is no name either.
            username=escape_filter_chars(names[0] if names else userdn),
        )
        conn.search(self.group_base, wanted, SUBTREE, attributes=["cn"])
        return {"groups": first_values(conn, "cn")}


def first_values(conn, attribute):
    """The distinguished names that a search has found, each with the first value it has."""
    found = [(each.entry_dn, each.entry_attributes_as_dict.get(attribute)) for each in conn.entries]
    return [(dn, values[0]) for dn, values in found if values]


def canonical(group):
    """A group's name; a distinguished name without what may be written in several ways."""
    try:
        return ",".join(f"{kind}={value}" for kind, value, _ in parse_dn(group, strip=True)).lower()
    except LDAPInvalidDnError:
        return group


def configure(c, values):
    """The class for the users of a directory."""
    ldap = values["login"]["ldap"]
    login_groups.configure(c, values, canonical)
    ours, theirs = c.DirectoryAuthenticator, c.LDAPAuthenticator
    ours.servers, ours.plain_text = ldap["servers"], ldap["plain_text"]
    ours.ca = values["login"]["ca"]
    ours.group_base, ours.group_filter = ldap["group_base"], ldap["group_filter"]
    theirs.valid_username_regex = rf"{NAME.pattern}\Z"
    theirs.user_attribute = theirs.lookup_dn_user_dn_attribute = ldap["user_attribute"]
    if ldap["user_dn"]:
        theirs.bind_dn_template = [ldap["user_dn"]]
        return DirectoryAuthenticator
    theirs.lookup_dn = True
    theirs.user_search_base = ldap["user_base"]
    theirs.lookup_dn_search_filter = f"(&({{login_attr}}={{login}}){ldap['user_filter']})"
    if ldap["bind_dn"]:
        theirs.lookup_dn_search_user = ldap["bind_dn"]
        theirs.lookup_dn_search_password = Path(ldap["bind_password_file"]).read_text().strip("\n")
    return DirectoryAuthenticator
