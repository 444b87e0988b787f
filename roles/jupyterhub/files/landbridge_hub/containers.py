"""Users' servers in containers: each server's unit runs Podman, as the user and without root."""

import pwd
import re
from pathlib import Path

from traitlets import List, Unicode

from landbridge_hub.spawning import LandbridgeSpawner

PODMAN = "/usr/bin/podman"
OPTIONS = [
    "--rm",
    "--replace",  # one that a crash of the node has left
    "--pull=never",
    "--init",
    "--log-driver=none",  # the unit's output is in the journal already
    # The unit's own control group holds all of it: limits and stops are systemd's.
    "--cgroups=disabled",
    # Hub and proxy speak with servers on loopback.
    "--network=host",
    # The user is the same inside, with the groups of outside.
    "--userns=keep-id",
    "--group-add=keep-groups",
    # Homes have the label of homes, and keep it: a label for containers would lock sshd out.
    "--security-opt=label=disable",
]


class ContainerSpawner(LandbridgeSpawner):
    """A container for each server; the profile's limits are its unit's."""

    image = Unicode(help="An image that users have.").tag(config=True)
    image_command = List(Unicode(), help="What runs in it.").tag(config=True)
    readable = List(Unicode(), help="What of the node is seen in it.").tag(config=True)
    writable = List(Unicode(), help="The same, where permissions decide.").tag(config=True)
    options = List(Unicode(), help="Further options of podman run.").tag(config=True)
    devices = ()

    async def start(self):
        """Start the unit of a user who may have containers."""
        if not Path(self.runtime_directory()).is_dir():
            said = "You may have no containers yet: ask for it (podman_rootless_users)."
            raise self.refusal(403, said)
        return await super().start()

    def take(self, profile):
        """Be as large as a profile says; its devices are the container's."""
        super().take({**profile, "devices": []})
        self.devices = profile["devices"]

    def runtime_directory(self):
        """Where a user's Podman keeps what runs; systemd makes it for lingering users."""
        return f"/run/user/{pwd.getpwnam(self.user.name).pw_uid}"

    def get_env(self):
        """What Podman needs, and the server's environment."""
        return {**super().get_env(), "XDG_RUNTIME_DIR": self.runtime_directory()}

    def get_args(self):
        """Podman's arguments; the environment is passed by its names, for it has secrets."""
        account = pwd.getpwnam(self.user.name)
        # systemd sets the last ones.
        names = {*super().get_env(), "HOME", "USER", "LOGNAME", "SHELL"}
        mounts = [f"{path}:{path}:ro" for path in self.readable]
        mounts += [f"{path}:{path}" for path in [account.pw_dir, *self.writable]]
        return [
            "run",
            *OPTIONS,
            f"--name={re.sub(r'[^A-Za-z0-9_.-]', '_', self.unit_name)}",
            f"--workdir={account.pw_dir}",
            *(f"--env={name}" for name in sorted(names)),
            *(f"--volume={mount}" for mount in mounts),
            *(f"--device={device}" for device in self.devices),
            *self.options,
            self.image,
            *self.image_command,
            *super().get_args(),
        ]


def configure(c, values):
    """Start servers in containers, where the node's values say so."""
    container = values["container"]
    if not container:
        return
    c.JupyterHub.spawner_class = ContainerSpawner
    c.ContainerSpawner.cmd = [PODMAN]
    c.ContainerSpawner.image = container["image"]
    c.ContainerSpawner.image_command = container["command"]
    c.ContainerSpawner.readable = container["readable"]
    c.ContainerSpawner.writable = container["writable"]
    if values["no_new_privileges"]:
        c.ContainerSpawner.options = ["--security-opt=no-new-privileges"]
    # Podman maps ids by setuid programs; what these hide is not in a container anyway.
    c.ContainerSpawner.disable_user_sudo = False
    c.ContainerSpawner.isolate_tmp = False
    c.ContainerSpawner.isolate_devices = False
