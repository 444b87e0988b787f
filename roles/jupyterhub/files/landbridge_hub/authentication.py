"""Who may log in: what says who somebody is gets chosen here, and every login is written down."""

from importlib import import_module

from jupyterhub.utils import maybe_future

from landbridge_hub import accounts
from landbridge_hub.account_rules import RefusedError
from landbridge_hub.events import emit


def configure(c, values):
    """Let those log in whom the node's kind of login knows and allows."""
    login = values["login"]
    kind = import_module(f"landbridge_hub.login_{login['authenticator']}")
    make = {"existing": False, "created": True}.get(login["accounts"])
    c.JupyterHub.authenticator_class = logged(kind.configure(c, values), make)
    c.JupyterHub.cookie_max_age_days = login["days"]


def logged(authenticator, make):
    """An authenticator that writes every attempt down and lets nobody in without an account.

    Args:
        authenticator: a class.
        make: whether an account that lacks is made; None where the login itself is by accounts.
    """

    class LoggedAuthenticator(authenticator):
        async def authenticate(self, handler, data):
            """As the base class does; whom a provider names is kept for who writes it down."""
            model = await maybe_future(super().authenticate(handler, data))
            if isinstance(model, dict):
                handler.landbridge_named = model["name"]
            return model

        async def get_authenticated_user(self, handler, data):
            """The user; None of whoever is refused."""
            user = None
            try:
                user = await self.with_account(await super().get_authenticated_user(handler, data))
            finally:
                typed = str((data or {}).get("username", ""))
                name = user["name"] if user else getattr(handler, "landbridge_named", typed)
                emit("login" if user else "login refused", handler, user=name)
            return user

        async def with_account(self, user):
            """The user, who has an account; else None."""
            if user and make is not None:
                try:
                    await accounts.ensure(user["name"], make)
                except RefusedError as refused:
                    self.log.warning("Nobody logs in as %r: %s", user["name"], refused)
                    return None
            return user

        async def pre_spawn_start(self, user, spawner):
            """Before a server starts: its user has a home."""
            await maybe_future(super().pre_spawn_start(user, spawner))
            if said := await accounts.make_home(user.name):
                raise spawner.refusal(500, said)

    return LoggedAuthenticator
