"""Services beside the hub, each with the fewest rights: the idle culler, metrics."""

import sys
from pathlib import Path

# To see which servers are idle, and to stop them.
CULLER = ["list:users", "read:users:activity", "read:servers", "delete:servers"]


def configure(c, values):
    """Declare services and their roles."""
    c.JupyterHub.services = [metrics(values)]
    c.JupyterHub.load_roles = [
        {"name": "metrics", "scopes": ["read:metrics"], "services": ["metrics"]}
    ]
    if values["cull_idle_seconds"]:
        c.JupyterHub.services.append(culler(values))
        role = {"name": "idle-culler", "scopes": CULLER, "services": ["idle-culler"]}
        c.JupyterHub.load_roles.append(role)


def metrics(values):
    """Whoever has the token may read the metrics; nothing runs."""
    token = Path(values["secrets"], "metrics_token").read_text().strip()
    return {"name": "metrics", "api_token": token}


def culler(values):
    """The program that stops servers which nobody has used for so long."""
    command = [sys.executable, "-m", "jupyterhub_idle_culler"]
    command += [f"--timeout={values['cull_idle_seconds']}"]
    command += [f"--max-age={values['cull_max_age_seconds']}"]
    return {"name": "idle-culler", "command": command, "user": values["culler"]}
