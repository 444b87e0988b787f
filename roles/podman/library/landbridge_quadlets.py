#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Services, networks and volumes of root and of rootless users, as quadlets."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_quadlets
short_description: Run exactly the quadlets that are given
description:
  - Writes the files of all users, reloads their service managers, and starts what does not run
    and restarts what has changed, be it the file, a secret or, without AutoUpdate, the image.
  - Podman's own generator and systemd judge the whole set before anything is changed.
  - What an earlier call made and this one does not name is stopped and removed; the data of
    volumes stays.
  - Goes by what is found on the node, so that a run after an interrupted one does the rest.
options:
  quadlets:
    description: All of them; podman-systemd.unit(5) says what sections may hold.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the file without its ending.
        type: str
        required: true
      type:
        description: Ending of the file.
        type: str
        choices: [container, pod, kube, network, volume, image, build]
        default: container
      user:
        description: Who runs it.
        type: str
        default: root
      sections:
        description: Section, key, and a value or a list of values.
        type: dict
        default: {}
      yaml:
        description: For kube, text of the file that its key Yaml names.
        type: str
        default: ""
  users:
    description: Users besides root who may run containers.
    type: list
    elements: str
    default: []
  secrets:
    description: Podman's secrets that there are, each as C(user/name).
    type: list
    elements: str
    default: []
  renewed:
    description: Those of O(secrets) that check mode only predicts to be new.
    type: list
    elements: str
    default: []
  images:
    description: Names of the images that are, or in check mode will be, in the users' stores.
    type: list
    elements: str
    default: []
  redact:
    description: Texts that no message may repeat, not even as a part of a service's log.
    type: list
    elements: str
    default: []
  only_judge:
    description:
      - V(entries) fails because of what is wrong in O(quadlets), V(node) because of what this node
        cannot run as well; nothing is changed or predicted.
    type: str
    choices: ["", entries, node]
    default: ""
requirements:
  - podman >= 4.4
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Predicts files and restarts, even where Podman is not installed yet.
    support: full
  diff_mode:
    description: Shows the files, and what is done to which unit.
    support: full
"""

EXAMPLES = r"""
- name: Run a web server, healed when it is not healthy
  landbridge_quadlets:
    quadlets:
      - name: web
        sections:
          Container:
            Image: localhost/tools/web:1
            HealthCmd: wget -q -O /dev/null http://127.0.0.1/
          Service: {MemoryMax: 512M}
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be, done to units, and why.
  returned: always
  type: list
  elements: str
  sample: ["restart web.service of root: its file, or a secret that it uses, has changed"]
updating:
  description: Users with quadlets that are updated automatically.
  returned: always
  type: list
  elements: str
  sample: [root]
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from ansible.module_utils import landbridge_quadlet as quadlet
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_podman import (
    STATE,
    CommandError,
    account_of,
    can_ask,
    read_record,
    run,
    write_record,
)
from ansible.module_utils.landbridge_services import (
    image_ids,
    journal,
    outdated,
    states,
    systemctl,
)

FOLDER = Path("/etc/containers/systemd")
GENERATOR = Path("/usr/libexec/podman/quadlet")
RECORD = STATE / "quadlets.json"
# A service that ends as soon as it has started is seen by then.
SETTLE_SECONDS = 1
NO_VERSION = (999,)  # not installed yet: what is coming is not known
# Units of these would hide a quadlet's, or the quadlet's would take their place.
ROOT_UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
USER_UNITS = ("/etc/systemd/user", "/run/systemd/user", "/usr/lib/systemd/user")


@dataclass
class Unit:
    """An entry on the node."""

    entry: dict
    files: dict  # text by path
    digest: str  # of all that a restart brings into effect
    action: str = ""  # start, restart or empty
    reason: str = ""

    @property
    def service(self):
        return quadlet.service_of(self.entry)

    @property
    def as_recorded(self):
        """What must be known of it when the inventory has dropped it."""
        entry = self.entry
        return {
            "service": self.service,
            "type": entry["type"],
            "resource": quadlet.resource_of(entry),
            "files": [str(path) for path in self.files],
        }


@dataclass
class Call:
    """What the module was told, and what it runs on."""

    version: tuple  # Podman's
    images: list
    renewed: list
    check_mode: bool


@dataclass
class Plan:
    """What is to be done for one user."""

    user: str
    account: object  # None: the user is gone
    uid: int
    folder: Path
    units: dict = field(default_factory=dict)  # Unit by name of its file
    record: dict = field(default_factory=dict)  # as it was read
    dropped: dict = field(default_factory=dict)  # of the record
    before: dict = field(default_factory=dict)  # texts of all files concerned
    reload: bool = False

    @property
    def after(self):
        """Texts of all files concerned, as they are to be."""
        wanted = {path: text for unit in self.units.values() for path, text in unit.files.items()}
        return {path: wanted.get(path, "") for path in self.before}

    @property
    def lost(self):
        """Services that go."""
        kept = {unit.service for unit in self.units.values()}
        return [old["service"] for old in self.dropped.values() if old["service"] not in kept]

    @property
    def acting(self):
        return [unit for unit in self.units.values() if unit.action]

    @property
    def changed(self):
        return bool(self.dropped or self.acting or self.before != self.after)

    @property
    def actions(self):
        """Sentences for people."""
        stops = [f"stop {name} of {self.user}: no entry wants it" for name in self.lost]
        return stops + [
            f"{unit.action} {unit.service} of {self.user}: {unit.reason}" for unit in self.acting
        ]


# -- What the node says ---------------------------------------------------------------------------


def installed_version():
    """Podman's version as numbers; NO_VERSION where it is not installed."""
    if shutil.which("podman") is None:
        return NO_VERSION
    said = subprocess.run(["podman", "--version"], capture_output=True, text=True, check=True)
    return tuple(int(number) for number in re.findall(r"\d+", said.stdout)[:3])


def judge_version(version, entries):
    """What this Podman cannot run, as sentences."""
    shown = dotted(version)
    if entries and version < quadlet.SINCE:
        yield (
            f"Podman {shown} is installed and knows no quadlets, Podman {dotted(quadlet.SINCE)} and"
            " later do: bring one in the bundle and update to it, or empty podman_quadlets"
        )
        return
    for entry in entries:
        _section, _ending, since = quadlet.KINDS[entry["type"]]
        what = f"quadlets of type {entry['type']}"
        if entry["user"] != "root" and since < quadlet.USERS_SINCE:
            since, what = quadlet.USERS_SINCE, f"quadlets of users in {FOLDER}/users"
        if version < since:
            yield (
                f"{quadlet.label_of(entry)}: Podman {shown} is installed and knows no {what},"
                f" Podman {dotted(since)} and later do: update to one, or take the entry out"
            )


def dotted(version):
    """A version as people write it."""
    return ".".join(str(number) for number in version)


def folder_of(user, uid):
    """Where the user's files are; root's manager reads no folder below its own."""
    return FOLDER if user == "root" else FOLDER / "users" / str(uid)


def runs(state):
    """Whether a unit does what it is there for."""
    if state.get("ActiveState") == "active":
        return True
    done = state.get("ActiveState") == "inactive" and state.get("Result") == "success"
    return done and state.get("Type") == "oneshot"


def secret_ids(account):
    """Id by name of the user's secrets; a new value has a new id."""
    said = run(["podman", "secret", "ls", "--format", "{{.Name}} {{.ID}}"], account)
    return dict(line.split() for line in said.splitlines())


# -- What is to be done ---------------------------------------------------------------------------


def plan_user(user, entries, record, call):
    """The user's plan, and what keeps it from being carried out."""
    uid = record.get("uid")
    try:
        account = account_of(user)
        uid = account.pw_uid
    except CommandError:
        if entries:
            raise
        account = None
    plan = Plan(user, account, uid, folder_of(user, uid), record=record.get("units", {}))
    asked = account is not None and can_ask(account)
    if entries and not asked and not call.check_mode:
        raise CommandError(f"{user}: Podman is not installed or the user's manager does not run")
    secrets = secret_ids(account) if asked and any(map(quadlet.secrets_of, entries)) else {}
    if call.check_mode:
        secrets.update({name: "new" for owner, name in pairs(call.renewed) if owner == user})
    for entry in entries:
        unit = unit_of(entry, plan.folder, call, secrets)
        plan.units[quadlet.file_of(entry)] = unit
    plan.dropped = {file: old for file, old in plan.record.items() if file not in plan.units}
    paths = {path for unit in plan.units.values() for path in unit.files}
    paths.update(Path(path) for old in plan.record.values() for path in old["files"])
    plan.before = {path: read(path) for path in sorted(paths)}
    problems = list(judge_places(plan))
    if asked:
        problems += judge_images(plan, call)
        decide(plan)
    else:
        for unit in plan.units.values():
            unit.action, unit.reason = "start", "new"
    return plan, problems


def pairs(names):
    """(user, name) of each C(user/name)."""
    return [tuple(name.split("/", 1)) for name in names]


def unit_of(entry, folder, call, secrets):
    """The entry's files and what they stand for."""
    files = {folder / quadlet.file_of(entry): quadlet.render(entry, call.version, call.images)}
    if entry["yaml"]:
        files[folder / quadlet.yaml_of(entry)] = entry["yaml"]
    ids = [f"{name}={secrets.get(name)}\n" for name in quadlet.secrets_of(entry)]
    texts = [content(text) for text in files.values()]
    digest = hashlib.sha256("\0".join([*texts, *ids]).encode()).hexdigest()
    return Unit(entry, files, digest)


def content(text):
    """What of a file makes a difference to the unit."""
    return "".join(line for line in text.splitlines(True) if not line.startswith("#"))


def read(path):
    """Text of a file, empty where there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def judge_places(plan):
    """Files and units of others in the way of ours."""
    roots = ROOT_UNITS if plan.user == "root" else USER_UNITS
    for file, unit in plan.units.items():
        what = quadlet.label_of(unit.entry)
        present = plan.before[plan.folder / file]
        if present and file not in plan.record and not present.startswith(quadlet.HEADER):
            yield f"{what}: {plan.folder / file} is somebody else's: move it away"
        for folder in roots:
            if os.path.lexists(f"{folder}/{unit.service}"):
                yield f"{what}: there is a {folder}/{unit.service} already: rename the entry"


def judge_images(plan, call):
    """Images that a container would miss."""
    coming = call.images if call.check_mode else []
    there = {*image_ids(plan.account), *coming} if plan.units else set()
    for unit in plan.units.values():
        image = quadlet.image_of(unit.entry)
        if quadlet.is_local(unit.entry, call.images) and image not in there:
            yield (
                f"{quadlet.label_of(unit.entry)}: image {image} is not in the store of"
                f" {plan.user}: add it to the stack, and to podman_images if that is set"
            )


def decide(plan):
    """Set each unit's action and reason, and whether the manager has to read files again."""
    known = states(plan.account, [unit.service for unit in plan.units.values()])
    stale = outdated(plan.account, image_ids(plan.account)) if plan.units else set()
    for file, unit in plan.units.items():
        state = known.get(unit.service, {})
        plan.reload = plan.reload or state.get("NeedDaemonReload") == "yes"
        active = state.get("ActiveState") in ("active", "activating", "reloading")
        written = any(content(plan.before[p]) != content(t) for p, t in unit.files.items())
        applied = plan.record.get(file, {}).get("applied") == unit.digest
        follows = not quadlet.auto_update(unit.entry)
        if not active and not quadlet.is_started(unit.entry):
            continue  # the next start sees what is new
        if not active and file not in plan.record:
            unit.action, unit.reason = "start", "new"
        elif written or not applied:
            unit.action = "restart"
            unit.reason = "its file, or a secret that it uses, has changed"
        elif follows and unit.service in stale:
            unit.action, unit.reason = "restart", "its image's name means a newer image"
        elif not runs(state):
            unit.action, unit.reason = "start", f"it was {state.get('ActiveState', 'unknown')}"


# -- What Podman and systemd say to it ------------------------------------------------------------


def judge_units(plan):
    """Complaints of Podman's generator, and of systemd about what it generates."""
    if not plan.units:
        return []
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "in"), Path(scratch, "out")
        source.mkdir()
        target.mkdir()
        for unit in plan.units.values():
            for path, text in unit.files.items():
                (source / path.name).write_text(text, encoding="utf-8")
        scope = [] if plan.user == "root" else ["-user"]
        environment = {**os.environ, "QUADLET_UNIT_DIRS": str(source), "XDG_RUNTIME_DIR": scratch}
        argv = [str(GENERATOR), "-no-kmsg-log", *scope, str(target)]
        said = tell(argv, environment)
        said = [re.sub(r"^quadlet-generator\[\d+\]: ", "", line) for line in said]
        said = [line.replace(f" in {source}/", " in ") for line in said if line]
        lacking = [unit for unit in plan.units.values() if not (target / unit.service).exists()]
        if lacking and not said:
            said = [f"{quadlet.label_of(unit.entry)}: Podman made no unit" for unit in lacking]
        return [f"{line} (user {plan.user})" for line in said] or judge_services(
            plan, target, environment
        )


def judge_services(plan, folder, environment):
    """What systemd would ignore or refuse of the lines that are ours."""
    scope = [] if plan.user == "root" else ["--user"]
    services = {unit.service: unit for unit in plan.units.values()}
    argv = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *scope]
    problems = []
    for line in tell([*argv, *(f"{folder}/{name}" for name in services)], environment):
        match = re.match(rf"{re.escape(str(folder))}/([^:]+):(\d+): (.*)", line)
        name = match[1] if match else line.split(":")[0]
        if name not in services:
            continue
        unit = services[name]
        if match is None:
            if "Refusing" in line:
                problems.append(f"{quadlet.label_of(unit.entry)}: {line}")
            continue
        text = (folder / name).read_text(encoding="utf-8").splitlines()[int(match[2]) - 1]
        if any(text in written.splitlines() for written in unit.files.values()):
            problems.append(f"{quadlet.label_of(unit.entry)}: {text}: {match[3]}")
    return problems


def tell(argv, environment):
    """Lines that a judging command writes to standard error."""
    said = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    return said.stderr.splitlines()


# -- Doing it -------------------------------------------------------------------------------------


def carry_out(module, plan):
    """Make the node as planned; CommandError names what does not run, with its log."""
    remember(plan, {})
    reachable = plan.account is not None and can_ask(plan.account)
    if reachable and plan.lost:
        stop(plan.account, plan.lost)
    for name in [old["resource"] for old in plan.dropped.values() if old["type"] == "volume"]:
        module.warn(f"volume {name} of {plan.user} keeps its data; `podman volume rm` ends it")
    write(module, plan)
    if reachable:
        written = plan.before != plan.after
        renew_networks(module, plan)
        if written or plan.reload:
            systemctl(plan.account, "daemon-reload")
        start(plan)
    applied = {file: unit.digest for file, unit in plan.units.items()}
    remember(plan, applied, forget=True)


def remember(plan, applied, forget=False):
    """Write down what is ours, before it is made, and what of it is in effect, after."""
    record = read_record(RECORD)
    units = {} if forget else dict(plan.dropped)
    for file, unit in plan.units.items():
        old = "" if unit.action else plan.record.get(file, {}).get("applied", "")
        units[file] = {**unit.as_recorded, "applied": applied.get(file, old)}
    record.pop(plan.user, None)
    if units:
        record[plan.user] = {"uid": plan.uid, "units": units}
    if record != read_record(RECORD):
        write_record(RECORD, record)


def stop(account, services):
    """Stop units and forget that they failed, if they did."""
    known = states(account, services)
    loaded = [name for name in services if known[name]["ActiveState"] != "inactive"]
    if loaded:
        systemctl(account, "stop", "--", *loaded)
        systemctl(account, "reset-failed", "--", *loaded)


def write(module, plan):
    """Write and remove files; systemd's generators must be able to read them as the user."""
    for path, text in plan.after.items():
        if text == plan.before[path]:
            continue
        if not text:
            path.unlink()
            continue
        for folder in reversed([plan.folder, *plan.folder.parents]):
            if not folder.exists():
                folder.mkdir()
                folder.chmod(0o755)
        handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        module.atomic_move(temporary, str(path))
        path.chmod(0o644)
    if plan.user != "root" and plan.folder.is_dir() and not any(plan.folder.iterdir()):
        plan.folder.rmdir()


def renew_networks(module, plan):
    """Remove networks that are dropped, or are to be made anew: Podman changes none in place."""
    present = run(["podman", "network", "ls", "--format", "{{.Name}}"], plan.account).split()
    gone = [old["resource"] for old in plan.dropped.values() if old["type"] == "network"]
    for name in set(gone) & set(present):
        try:
            run(["podman", "network", "rm", name], plan.account)
        except CommandError as error:
            module.warn(f"network {name} of {plan.user} stays: {error}")
    for file, unit in plan.units.items():
        name = quadlet.resource_of(unit.entry)
        ours = unit.entry["type"] == "network" and file in plan.record
        if ours and unit.action == "restart" and name in present:
            renew_network(plan, unit, name)
        if unit.entry["type"] == "volume" and unit.action == "restart":
            module.warn(f"volume {name} of {plan.user} is not made anew, for that would lose data")


def renew_network(plan, unit, name):
    """Remove a network, so that its unit makes it anew; what ran in it runs on if that fails."""
    stop(plan.account, [unit.service])  # and with it, the quadlets that are in the network
    try:
        run(["podman", "network", "rm", name], plan.account)
    except CommandError as error:
        known = [each for file, each in plan.units.items() if file in plan.record]
        attempt(plan.account, "start", [u.service for u in known if quadlet.is_started(u.entry)])
        raise CommandError(
            f"network {name} of {plan.user} cannot be made anew: {error}; take the containers out"
            " of it that no entry runs, or name the changed network otherwise"
        ) from error


def start(plan):
    """Start and restart, then see to it that everything runs."""
    began = int(time.time())
    failures = []
    for action in ("restart", "start"):
        services = {restarted(plan, unit) for unit in plan.acting if unit.action == action}
        if services:
            failures += attempt(plan.account, action, sorted(services))
    if plan.acting:
        time.sleep(SETTLE_SECONDS)
    wanted = [unit.service for unit in plan.units.values() if quadlet.is_started(unit.entry)]
    # A unit that was stopped because another one was renewed.
    resting = [
        name
        for name, state in states(plan.account, wanted).items()
        if state["ActiveState"] == "inactive" and not runs(state)
    ]
    if resting and not failures:
        failures += attempt(plan.account, "start", resting)
    now = states(plan.account, wanted)
    broken = [name for name in wanted if not runs(now[name])]
    if broken or failures:
        logs = [f"{name}:\n{journal(plan.account, name, began)}" for name in broken]
        raise CommandError("\n".join([f"units of {plan.user} do not run", *failures, *logs]))


def restarted(plan, unit):
    """The service to restart for a unit: a pod ends with its last container, so the pod itself."""
    pod = (quadlet.values(unit.entry, "Container", "Pod") or [""])[-1]
    return plan.units[pod].service if unit.action == "restart" and pod else unit.service


def attempt(account, action, services):
    """Start or restart units; what systemctl says if some of them fail."""
    try:
        systemctl(account, action, "--", *services)
    except CommandError as error:
        return [str(error)]
    return []


# -- Ansible --------------------------------------------------------------------------------------


def main():
    """Run as an Ansible module."""
    text = {"type": "str", "default": ""}
    texts = {"type": "list", "elements": "str", "default": []}
    entry = {
        "name": {"type": "str", "required": True},
        "type": {"type": "str", "choices": sorted(quadlet.KINDS), "default": "container"},
        "user": {"type": "str", "default": "root"},
        "sections": {"type": "dict", "default": {}},
        "yaml": text,
    }
    module = AnsibleModule(
        argument_spec={
            "quadlets": {"type": "list", "elements": "dict", "required": True, "options": entry},
            "users": texts,
            "secrets": texts,
            "renewed": texts,
            "images": texts,
            "redact": {**texts, "no_log": True},
            "only_judge": {"type": "str", "choices": ["", "entries", "node"], "default": ""},
        },
        supports_check_mode=True,
    )
    # A service logs a secret of several lines line by line.
    lines = [line for each in module.params["redact"] for line in each.splitlines()]
    module.no_log_values.update(line for line in lines if len(line) >= 8)
    try:
        result = converge(module)
    except (CommandError, OSError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"podman_quadlets: {error}")
    module.exit_json(**result)


def converge(module):
    """Judge, plan and do; the module's result."""
    params = module.params
    entries = params["quadlets"]
    secrets = {}
    for user, name in pairs(params["secrets"]):
        secrets.setdefault(user, []).append(name)
    refuse(quadlet.judge(entries, ["root", *params["users"]], secrets))
    updating = sorted({entry["user"] for entry in entries if quadlet.auto_update(entry)})
    if params["only_judge"] == "entries":
        return {"changed": False, "actions": [], "updating": updating}
    call = Call(installed_version(), params["images"], params["renewed"], module.check_mode)
    refuse(list(judge_version(call.version, entries)))
    record = read_record(RECORD)
    plans, problems = [], []
    for user in sorted({*record, *(entry["user"] for entry in entries)}, key=lambda u: u != "root"):
        own = [entry for entry in entries if entry["user"] == user]
        plan, found = plan_user(user, own, record.get(user, {}), call)
        plans.append(plan)
        problems += found
        problems += judge_units(plan) if call.version != NO_VERSION else []
    refuse(problems)
    if params["only_judge"]:
        return {"changed": False, "actions": [], "updating": updating}
    changed = any(plan.changed for plan in plans)
    for plan in plans:
        if not module.check_mode:
            carry_out(module, plan)
    actions = [action for plan in plans for action in plan.actions]
    diff = difference(plans, actions)
    return {"changed": changed, "actions": actions, "updating": updating, "diff": diff}


def refuse(problems):
    """Fail with all problems at once, before anything is changed."""
    if problems:
        raise CommandError("\n".join(problems))


def difference(plans, actions):
    """Files, and what is done to units, for --diff."""
    parts = []
    for plan in plans:
        for path, before in plan.before.items():
            after = plan.after[path]
            header = {"before_header": str(path), "after_header": str(path)}
            parts.append({"before": before, "after": after, **header})
    if actions:
        header = {"before_header": "units", "after_header": "units"}
        parts.append({"before": "", "after": "".join(f"{a}\n" for a in actions), **header})
    return parts


if __name__ == "__main__":
    main()
