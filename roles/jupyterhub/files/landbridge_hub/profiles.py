"""Sizes of servers, and which groups may have which."""

from html import escape


class RefusedError(Exception):
    """A profile that is not there or not for the user."""


def allowed(profiles, groups):
    """The profiles for a member of `groups`, in their order."""
    return [p for p in profiles if not p["groups"] or set(p["groups"]) & set(groups)]


def choose(profiles, groups, wanted):
    """The profile that a server gets.

    Args:
        profiles: all of them.
        groups: those that the user is in.
        wanted: what was asked for, by whoever, through a form or not; None for the default one.

    Raises:
        RefusedError: it is not one of the user's.
    """
    mine = allowed(profiles, groups)
    if wanted is None:
        mine.sort(key=lambda profile: not profile["default"])
    else:
        mine = [profile for profile in mine if profile["name"] == wanted]
    if not mine:
        raise RefusedError("You may not start a server of this profile; choose another one.")
    return mine[0]


def form(profiles, groups):
    """The choice as HTML, the default one chosen."""
    try:
        chosen = choose(profiles, groups, None)["name"]
    except RefusedError as refused:
        return f"<p>{escape(str(refused))}</p>"
    options = "".join(
        f'<option value="{escape(name)}"{" selected" if name == chosen else ""}>'
        f"{escape(name)}: {escape(described(profile))}</option>"
        for profile in allowed(profiles, groups)
        for name in [profile["name"]]
    )
    return (
        '<label for="profile">Profile</label>'
        f'<select id="profile" name="profile" class="form-control">{options}</select>'
    )


def described(profile):
    """What a profile gives, in a few words."""
    parts = [
        f"{profile['memory']} of memory" if profile["memory"] else "no limit of memory",
        f"{profile['cpu']:g} processors" if profile["cpu"] else "all processors",
    ]
    return ", ".join(parts + (["with devices"] if profile["devices"] else []))
