"""What an OpenID provider says of a user."""


def groups(claims, name):
    """The texts of a claim; what else a provider may send is no group.

    Args:
        claims: all that the provider says.
        name: of the claim, or the way to it with dots.
    """
    found = claims.get(name)
    if found is None:
        found = claims
        for word in name.split("."):
            found = found.get(word) if isinstance(found, dict) else None
    listed = found if isinstance(found, list) else [found]
    return {group for group in listed if isinstance(group, str) and group}
