"""Services beside the hub, each with the fewest rights: idle culler, metrics, operations."""

import sys
from pathlib import Path

# To see which servers are idle, and to stop them.
CULLER = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
# What `landbridge users` shows, the units' names included, and what `landbridge drain` stops.
OPERATIONS = [*CULLER, "admin:server_state"]


def configure(c, values):
    """Declare services and their roles."""
    c.JupyterHub.services = [called(values, "metrics"), called(values, "operations")]
    c.JupyterHub.load_roles = [
        {"name": "metrics", "scopes": ["read:metrics"], "services": ["metrics"]},
        {"name": "operations", "scopes": OPERATIONS, "services": ["operations"]},
    ]
    if values["cull_idle_seconds"]:
        c.JupyterHub.services.append(culler(values))
        role = {"name": "idle-culler", "scopes": CULLER, "services": ["idle-culler"]}
        c.JupyterHub.load_roles.append(role)


def called(values, name):
    """A service that is a token: whoever has it has the rights of that name; nothing runs."""
    token = Path(values["secrets"], f"{name}_token").read_text().strip()
    return {"name": name, "api_token": token}


def culler(values):
    """The program that stops servers which nobody has used for so long."""
    command = [sys.executable, "-m", "jupyterhub_idle_culler"]
    command += [f"--timeout={values['cull_idle_seconds']}"]
    command += [f"--max-age={values['cull_max_age_seconds']}"]
    return {"name": "idle-culler", "command": command, "user": values["culler"]}
