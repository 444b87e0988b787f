"""Login by an OpenID provider, which also says who is in which group."""

from pathlib import Path

from oauthenticator.generic import GenericOAuthenticator
from traitlets import Unicode

from landbridge_hub import claims, login_groups


class ProviderAuthenticator(login_groups.GroupAuthenticator, GenericOAuthenticator):
    """The package's authorization code flow; whom it is about is looked at with care."""

    groups_claim = Unicode(help="The claim with the user's groups; dots lead into it.").tag(
        config=True
    )

    async def get_user_groups(self, auth_state):
        """The groups; the base class would take a single text for a list of letters."""
        return claims.groups(auth_state[self.user_auth_state_key], self.groups_claim)


def configure(c, values):
    """The class for the users of a provider."""
    oidc = values["login"]["oidc"]
    login_groups.configure(c, values)
    c.ProviderAuthenticator.groups_claim = oidc["groups_claim"]
    theirs = c.GenericOAuthenticator
    theirs.authorize_url = oidc["authorize_url"]
    theirs.token_url = oidc["token_url"]
    theirs.userdata_url = oidc["userdata_url"]
    theirs.logout_redirect_url = oidc["logout_url"]
    theirs.oauth_callback_url = oidc["callback_url"]
    theirs.client_id = oidc["client_id"]
    theirs.client_secret = Path(oidc["client_secret_file"]).read_text().strip("\n")
    theirs.scope = oidc["scope"]
    theirs.username_claim = oidc["username_claim"]
    theirs.login_service = oidc["name"]
    theirs.enable_pkce = True
    theirs.validate_server_cert = True
    theirs.http_request_kwargs = {"ca_certs": values["login"]["ca"]}
    return ProviderAuthenticator
