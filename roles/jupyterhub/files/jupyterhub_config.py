"""JupyterHub as Landbridge runs it; the node's values are in values.json beside this file."""

import json
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from landbridge_hub import (
    authentication,
    backup,
    containers,
    database,
    guidance,
    services,
    spawning,
    teams,
    web,
)

here = Path(__file__).parent
values = json.loads((here / "values.json").read_text())
shared = json.loads((here / "teams.json").read_text())
prefix = values["prefix"]

c = get_config()  # noqa: F821 - JupyterHub puts it here

# A proxy of its own, as an unprivileged service: it, and so every open notebook, outlives a
# restart of the hub. The token that both share is in the environment.
c.JupyterHub.bind_url = values["bind_url"]
c.JupyterHub.hub_ip = "127.0.0.1"
c.JupyterHub.hub_port = values["hub_port"]
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{values['proxy_api_port']}"
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.cleanup_servers = False

# State, but for the cookie secret, which is in the environment.
database.configure(c, values, partial(backup.before_migration, values, shared))

web.configure(c, values)

authentication.configure(c, values)
services.configure(c, values)
spawning.configure(c, values)
containers.configure(c, values)

# -s: what users have installed for themselves is for their kernels, not for the server.
c.Spawner.cmd = [f"{prefix}/bin/python", "-s", f"{prefix}/bin/jupyterhub-singleuser"]
c.Spawner.default_url = "/lab"
c.Spawner.environment = {
    "JUPYTER_PATH": values["jupyter_path"],
    "JUPYTER_CONFIG_PATH": str(here / "singleuser"),
    # systemd's own search path knows no environment. In a terminal, `python` is that of notebooks,
    # by its link: what a user makes with it follows upgrades.
    "PATH": ":".join(
        [f"{values['python']}/bin"] * bool(values["python"])
        + [f"{prefix}/bin", "/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin"]
    ),
}
c.Spawner.args = [
    f"--MappingKernelManager.default_kernel_name={values['default_kernel']}",
    f"--MappingKernelManager.cull_idle_timeout={values['cull_kernel_seconds']}",
]

templates = str(here / "templates")
guidance.configure(c, values, templates)

# Last, because it builds on the authenticator that is chosen above.
teams.configure(c, shared, templates)
