"""Who may log in."""

from jupyterhub.auth import PAMAuthenticator

from landbridge_hub.events import emit


class LoggedAuthenticator(PAMAuthenticator):
    """PAM, and every attempt is written down."""

    async def get_authenticated_user(self, handler, data):
        """The user; None of whoever is refused."""
        user = await super().get_authenticated_user(handler, data)
        name = user["name"] if user else str(data.get("username", ""))
        emit("login" if user else "login refused", handler, user=name)
        return user


def configure(c, values):
    """Let the PAM users of the groups log in.

    Sessions are not opened: the user's server is a systemd unit of its own and not a child of
    the hub.
    """
    c.JupyterHub.authenticator_class = LoggedAuthenticator
    c.PAMAuthenticator.service = "jupyterhub"
    c.PAMAuthenticator.open_sessions = False
    c.PAMAuthenticator.admin_groups = set(values["admin_groups"])
    c.PAMAuthenticator.allowed_groups = {*values["allowed_groups"], *values["admin_groups"]}
