"""Users' servers: one systemd unit each."""

import asyncio
import grp
import os
import pwd
import re

from systemdspawner import SystemdSpawner
from tornado.web import HTTPError
from traitlets import Dict, List, Unicode

from landbridge_hub import drain, profiles
from landbridge_hub.events import emit
from landbridge_hub.turns import TooManyError, Turns

# A server is told to end and ends its kernels itself. Were they told, too, it would take them for
# dead and start them anew, and the unit would wait for kernels that nobody tells to end; so would
# what clears up after Podman. What is open is written down in the first of the seconds, which are
# fewer than operations wait for a server (library/landbridge_hub.py).
ENDING = {"KillMode": "mixed", "TimeoutStopSec": "30"}


class LandbridgeSpawner(SystemdSpawner):
    """A unit for each server of a user, as large as the profile that was chosen."""

    profiles = List(Dict(), help="Sizes of servers.").tag(config=True)
    drained = Unicode(help="A file that is there while the hub is closed.").tag(config=True)
    turns = None  # of all spawners; configuration would copy it for each
    refused = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # The base class gives all servers of a user the same name.
        self.unit_name += named(self.name)

    def _expand_user_vars(self, string):
        """As the base class, which takes no lists."""
        if isinstance(string, list):
            return [self._expand_user_vars(each) for each in string]
        return super()._expand_user_vars(string)

    def run_options_from_form(self, form_data):
        """What was chosen in the form; the user may have sent anything."""
        if not self.profiles:
            return {}
        return {"profile": self.chosen(form_data.get("profile", [None])[0])["name"]}

    def options_from_query(self, query_data):
        """The same in an address."""
        return self.run_options_from_form(query_data)

    def groups(self):
        """The names of the user's groups, the node's and the hub's."""
        account = pwd.getpwnam(self.user.name)
        numbers = os.getgrouplist(account.pw_name, account.pw_gid)
        known = {group.gr_gid: group.gr_name for group in map(found, numbers) if group}
        return {*known.values(), *(group.name for group in self.user.groups)}

    def chosen(self, wanted):
        """The profile of that name; an answer to the browser where the user may not have it."""
        try:
            return profiles.choose(self.profiles, self.groups(), wanted)
        except profiles.RefusedError as refused:
            # The hub has kept what was asked for: the next start would ask for it again.
            self.orm_spawner.user_options = {}
            self.db.commit()
            raise self.refusal(403, str(refused)) from refused

    def refusal(self, status, said):
        """The answer to a browser that gets no server, written down."""
        self.refused = True
        emit("start refused", self.handler, user=self.user.name, server=self.name)
        error = HTTPError(status, said)
        error.jupyterhub_message = said
        return error

    def take(self, profile):
        """Be as large as a profile says."""
        self.mem_limit, self.cpu_limit = profile["memory"], profile["cpu"]
        if profile["devices"]:
            self.isolate_devices = False
            allow = [f"{device} rw" for device in profile["devices"]]
            devices = {"DevicePolicy": "closed", "DeviceAllow": allow}
            self.unit_extra_properties = {**self.unit_extra_properties, **devices}

    async def start(self):
        """Start the unit; options may come from the form or, unchecked, from the API."""
        if pwd.getpwnam(self.user.name).pw_uid == 0:
            raise HTTPError(403, "root gets no server")
        self.refused, name = False, None
        if said := drain.closed(self.drained):
            raise self.refusal(503, said)
        if self.profiles:
            profile = self.chosen(self.user_options.get("profile"))
            self.take(profile)
            name = profile["name"]
        emit("start", self.handler, user=self.user.name, server=self.name, profile=name)
        return await self.in_turn()

    async def in_turn(self):
        """Start the unit when others have started theirs; the turn ends when the server answers."""
        try:
            async with self.turns.turn(self), asyncio.timeout(self.http_timeout):
                if said := drain.closed(self.drained):
                    raise self.refusal(503, said)
                address = await super().start()
                await self.listening(*address)
                return address
        except TooManyError as late:
            raise self.refusal(503, str(late)) from late

    async def listening(self, host, port):
        """Wait until the server takes connections or has ended; the hub asks it what it is."""
        while await self.poll() is None:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.5)
            else:
                writer.close()
                return

    async def progress(self):
        """What the page tells a user who waits."""
        while (before := self.turns.before(self)) is not None:
            yield {"progress": 10, "message": f"{before} servers start before yours"}
            await asyncio.sleep(2)
        yield {"progress": 50, "message": "Your server starts"}


def found(number):
    """A group; None where a name service knows the number only."""
    try:
        return grp.getgrgid(number)
    except KeyError:
        return None


def named(server):
    """The end of a unit's name; no two servers have the same, whatever users call them."""
    if not server:
        return ""
    return "-n_" + re.sub(r"[^A-Za-z0-9]", lambda match: f"_{ord(match[0]):x}_", server)


def options_form(spawner):
    """The choice of a profile, before a server starts."""
    return profiles.form(spawner.profiles, spawner.groups())


def stopped(spawner):
    """Write down that a server has stopped, whoever stopped it."""
    if not spawner.refused:
        emit("stop", user=spawner.user.name, server=spawner.name)


def configure(c, values):
    """Start servers as units.

    Args:
        c: the hub's configuration.
        values: the node's.
    """
    c.JupyterHub.spawner_class = LandbridgeSpawner
    c.LandbridgeSpawner.drained = f"{values['state']}/drained"
    c.JupyterHub.allow_named_servers = values["named_servers"] > 0
    c.JupyterHub.named_server_limit_per_user = values["named_servers"]
    c.Spawner.mem_limit = values["memory_limit"]
    c.Spawner.cpu_limit = values["cpu_limit"]
    LandbridgeSpawner.turns = Turns(values["starts_at_once"], values["queue_seconds"])
    c.Spawner.http_timeout = values["server_seconds"]
    # Longer than both together: no unit may begin after the hub has given its start up.
    c.Spawner.start_timeout = values["queue_seconds"] + values["server_seconds"] + 10
    # The queue is ours: the hub would send the hundredth away.
    c.JupyterHub.concurrent_spawn_limit = 0
    c.Spawner.post_stop_hook = stopped
    c.SystemdSpawner.default_shell = "/bin/bash"
    c.SystemdSpawner.isolate_tmp = values["private_tmp"]
    c.SystemdSpawner.isolate_devices = values["private_devices"]
    c.SystemdSpawner.disable_user_sudo = values["no_new_privileges"]
    c.SystemdSpawner.unit_extra_properties = {**ENDING, **values["unit_properties"]}
    if values["profiles"]:
        defaults = {"memory": values["memory_limit"], "cpu": values["cpu_limit"]}
        defaults |= {"groups": [], "devices": [], "default": False}
        c.LandbridgeSpawner.profiles = [defaults | profile for profile in values["profiles"]]
        c.Spawner.options_form = options_form
