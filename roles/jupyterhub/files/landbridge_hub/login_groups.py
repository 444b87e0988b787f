"""Logins that bring the user's groups along, which are not the node's."""

from jupyterhub.auth import Authenticator
from traitlets import Set, Unicode


class GroupAuthenticator(Authenticator):
    """Whoever is in one of the groups gets in; the hub's groups follow at every login."""

    member_groups = Set(Unicode(), help="Whose members may log in.").tag(
        config=True, allow_config=True
    )
    administrator_groups = Set(Unicode(), help="Whose members administer, too.").tag(config=True)

    def groups_of(self, model):
        """All names by which configuration may call the groups of a login."""
        return set(model["groups"])

    def check_allowed(self, username, authentication=None):  # noqa: ARG002 - the base class's
        """Whether one of the login's groups may come in."""
        wanted = self.member_groups | self.administrator_groups
        return bool(self.groups_of(authentication) & wanted)

    def is_admin(self, handler, authentication):  # noqa: ARG002 - the base class's
        """Yes or no, so that who leaves the group loses the right."""
        return bool(self.groups_of(authentication) & self.administrator_groups)


def configure(c, values, name=str):
    """Set the groups.

    Args:
        c: the hub's configuration.
        values: the node's.
        name: how a group is written so that two ways to write it are one.
    """
    c.Authenticator.manage_groups = True
    c.GroupAuthenticator.member_groups = set(map(name, values["allowed_groups"]))
    c.GroupAuthenticator.administrator_groups = set(map(name, values["admin_groups"]))
