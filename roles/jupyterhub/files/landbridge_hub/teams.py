"""Servers that teams share: an account of the team runs one, and the team's members may use it.

Which teams there are is in teams.json beside jupyterhub_config.py.
"""

import grp
import os
import pwd
from importlib.metadata import entry_points

# A member who joins or leaves is noticed within so many seconds of the next request.
REFRESH_SECONDS = 60


def configure(c, teams, templates):
    """Give every team's members its server.

    Args:
        c: the hub's configuration so far; the authenticator has to be chosen in it.
        teams: `folders`, and `accounts` with each account's `name`, `group`, `login_group` (None
            where the node's group says who is a member) and `folder`.
        templates: directory of the hub's pages.
    """
    accounts = teams["accounts"]
    if not accounts:
        return
    c.JupyterHub.authenticator_class = with_teams(c.JupyterHub.authenticator_class, accounts)
    c.Authenticator.manage_groups = True
    c.Authenticator.auth_refresh_age = REFRESH_SECONDS
    c.JupyterHub.load_roles = [
        *c.JupyterHub.get("load_roles", []),
        # The hub then knows the accounts as users; the role gives them what every user has.
        {"name": "team-accounts", "scopes": ["self"], "users": list(accounts)},
        *map(members_role, accounts),
    ]
    # Whoever is a member has not to confirm, after each start of the server, that it may know them.
    c.JupyterHub.tornado_settings = {
        **c.JupyterHub.get("tornado_settings", {}),
        "oauth_no_confirm_list": {f"jupyterhub-user-{account}" for account in accounts},
    }
    # For teams_server_config.py: whether a server is a team's, and where documents are.
    c.Spawner.environment["LANDBRIDGE_TEAM_FOLDERS"] = teams["folders"]
    c.Spawner.environment["LANDBRIDGE_TEAM_FOLDER"] = lambda spawner: accounts.get(
        spawner.user.name, {}
    ).get("folder", "")
    c.JupyterHub.template_paths = [*c.JupyterHub.get("template_paths", []), templates]
    c.JupyterHub.template_vars = {
        **c.JupyterHub.get("template_vars", {}),
        "landbridge_teams": {account: team["name"] for account, team in accounts.items()},
    }


def members_role(account):
    """The role of a team's members; the hub's group of them is called after the account."""
    scopes = ["access:servers", "admin:servers", "list:users"]
    return {
        "name": f"{account}-members",
        "scopes": [f"{scope}!user={account}" for scope in scopes],
        "groups": [account],
    }


def with_teams(authenticator, accounts):
    """An authenticator that also says which teams a user is in.

    Args:
        authenticator: a class, or the name of one that a package has registered.
        accounts: the teams by their accounts.
    """
    if isinstance(authenticator, str):
        (found,) = entry_points(group="jupyterhub.authenticators", name=authenticator)
        authenticator = found.load()

    class TeamAuthenticator(authenticator):
        def check_blocked_users(self, username, authentication=None):
            """Nobody logs in as a team.

            Not by the configured list: the hub takes from blocked users what they have, their
            servers included.
            """
            allowed = super().check_blocked_users(username, authentication)
            return allowed and username not in accounts

        async def get_authenticated_user(self, handler, data):
            model = await super().get_authenticated_user(handler, data)
            if model is None:
                return None
            return {**model, "groups": grouped(model["name"], model.get("groups") or [], accounts)}

        async def refresh_user(self, user, handler=None):
            fresh = await super().refresh_user(user, handler)
            if not fresh:
                return fresh
            model = fresh if isinstance(fresh, dict) else {"name": user.name}
            others = model.get("groups")
            if others is None:
                others = [group.name for group in user.groups]
            return {**model, "groups": grouped(user.name, others, accounts)}

    return TeamAuthenticator


def grouped(user, others, accounts):
    """The hub's groups of a user: those of the login, and those of the teams.

    A group of the login's that is called like a team's account makes nobody a member.
    """
    others = [group for group in others if group not in accounts]
    return [*others, *teams_of(user, others, accounts)]


def teams_of(user, groups, accounts):
    """Accounts of the teams whose group the login has the user in, or the node's name services."""
    try:
        gids = os.getgrouplist(user, pwd.getpwnam(user).pw_gid)
    except KeyError:
        gids = []
    return [
        account
        for account, team in accounts.items()
        if team["login_group"] in groups or gid(team["group"]) in gids
    ]


def gid(group):
    """The number of a group; None of one that is not there (any more)."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None
