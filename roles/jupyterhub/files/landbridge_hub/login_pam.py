"""Login by PAM: the node's own accounts and those that SSSD brings."""

from jupyterhub.auth import PAMAuthenticator


class AccountAuthenticator(PAMAuthenticator):
    """PAM, where groups alone say who administers."""

    async def is_admin(self, handler, authentication):
        """Yes or no; the base class leaves rights as they were where no group is named."""
        return bool(await super().is_admin(handler, authentication))


def configure(c, values):
    """The class for PAM users of the groups.

    Sessions are not opened: the user's server is a systemd unit of its own and not a child of
    the hub.
    """
    c.PAMAuthenticator.service = "jupyterhub"
    c.PAMAuthenticator.open_sessions = False
    c.PAMAuthenticator.admin_groups = set(values["admin_groups"])
    c.PAMAuthenticator.allowed_groups = {*values["allowed_groups"], *values["admin_groups"]}
    return AccountAuthenticator
