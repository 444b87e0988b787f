"""JupyterHub as Landbridge runs it; the node's values are in values.json beside this file."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from landbridge_hub import authentication, containers, services, spawning, teams, web

here = Path(__file__).parent
values = json.loads((here / "values.json").read_text())
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

# State, but for the cookie secret, which is in the environment. The schema of an older hub is
# migrated at the start; SQLite files are copied before.
c.JupyterHub.db_url = f"sqlite:///{values['state']}/jupyterhub.sqlite"
c.JupyterHub.upgrade_db = True

web.configure(c, values)

authentication.configure(c, values)
services.configure(c, values)
spawning.configure(c, values)
containers.configure(c, values)

c.Spawner.cmd = [f"{prefix}/bin/jupyterhub-singleuser"]
c.Spawner.default_url = "/lab"
c.Spawner.environment = {
    "JUPYTER_PATH": values["jupyter_path"],
    "JUPYTER_CONFIG_PATH": str(here / "singleuser"),
    # systemd's own search path knows no environment; users' commands come first as in a login.
    "PATH": f"{prefix}/bin:/usr/local/bin:/usr/bin:/usr/local/sbin:/usr/sbin",
}
c.Spawner.args = [
    f"--MappingKernelManager.default_kernel_name={values['default_kernel']}",
    f"--MappingKernelManager.cull_idle_timeout={values['cull_kernel_seconds']}",
]

# Last, because it builds on the authenticator that is chosen above.
teams.configure(c, json.loads((here / "teams.json").read_text()), str(here / "templates"))
