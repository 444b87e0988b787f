#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""A release of a depot far away, as far as a node needs it as files."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: landbridge_depot_fetch
short_description: Bring a depot's release to the node, as far as no client fetches it by itself
description:
  - Fetches manifest and signature, and believes nothing else before the signature is good; then
    what the node needs as files, each checked against the manifest, into C(releases/<release>) of
    the node's own depot, and makes that C(current).
  - What another release of the node has is linked. What was interrupted goes on.
  - With O(folder) it brings further files of a release that is here in part.
options:
  url:
    description: The depot, C(https://DEPOT/landbridge); with O(folder), the release there.
    type: str
    required: true
  release:
    description: Name of a release; C(current) for the depot's current one.
    type: str
    default: current
  depot:
    description: Directory of the node's own depot.
    type: path
    default: /var/lib/landbridge/depot
  folder:
    description: Directory of the release on the node, to which further files are to come.
    type: path
  prefixes:
    description: Beginnings of paths of further files.
    type: list
    elements: str
    default: []
  locks:
    description: Locks of conda environments, whose packages are wanted.
    type: list
    elements: str
    default: []
  login:
    description: How the depot is asked.
    type: dict
    default: {}
    suboptions:
      ca:
        description: PEM file of the authority of the depot's certificate, beside the system's.
        type: str
        default: ""
      certificates:
        description: PEM texts of authorities that the system's store is yet to have.
        type: list
        elements: str
        default: []
      client_certificate:
        description: PEM file of the node's certificate.
        type: str
        default: ""
      client_key:
        description: PEM file of its key.
        type: str
        default: ""
      user:
        description: Name of the node for the depot.
        type: str
        default: ""
      password:
        description: Its password.
        type: str
        default: ""
  signature:
    description: Whether the manifest must be signed by a trusted key, and not before the last one.
    type: str
    choices: [required, ignored]
    default: required
  keys:
    description: Armored OpenPGP public keys that are trusted; without them, those of the node.
    type: list
    elements: str
    default: []
  allow_downgrade:
    description: Whether the release may have been signed before the last one of this node.
    type: bool
    default: false
author: Landbridge (@landbridge)
attributes:
  check_mode:
    description: Fetches what the other roles look at, and leaves C(current).
    support: partial
  diff_mode:
    description: Shows the release before and after.
    support: full
"""

EXAMPLES = r"""
- name: Bring the depot's current release
  landbridge_depot_fetch:
    url: https://depot.example.org/landbridge

- name: Bring its images, too
  landbridge_depot_fetch:
    url: "{{ ansible_facts['landbridge'].url }}"
    folder: "{{ ansible_facts['landbridge'].depot }}"
    prefixes: [images/]
"""

RETURN = r"""
release:
  description: Name of the release.
  returned: success
  type: str
depot:
  description: Directory that has it.
  returned: success
  type: str
url:
  description: Where clients find the rest of it.
  returned: success
  type: str
fetched:
  description: Bytes that were fetched.
  returned: success
  type: int
"""

import json
import os
import platform
import re
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.landbridge_depot_client import (
    Depot,
    Problem,
    alone,
    held,
    lacking,
    take,
    write,
)
from ansible.module_utils.landbridge_release import CARRY_ANEW, is_small, signed_manifest

OS_RELEASE = Path("/etc/os-release")
MANIFEST, SIGNATURE = "manifest.json", "manifest.json.asc"
RELEASE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}-[0-9a-f]{12}")
ENTRY = re.compile(r"^([a-z0-9-]+/[^/#\s]+)#[0-9a-f]{64}$", re.M)
REPODATA = re.compile(r"conda/[^/]+/repodata\.json")


def this_target():
    """This node's target."""
    text = OS_RELEASE.read_text(encoding="utf-8")
    major = re.search(r"^VERSION_ID=[\"']?(\d+)", text, flags=re.M)
    return f"el{major.group(1) if major else ''}-{platform.machine()}"


def parse(data, where):
    """Release and files of a manifest; only names that stay inside are let through."""
    try:
        fields = json.loads(data)
        release, files = fields["release"], fields["files"]
        for path, entry in files.items():
            inside = (
                path and not path.startswith("/") and not {"", ".", ".."} & set(path.split("/"))
            )
            if not inside or not isinstance(entry["size"], int) or len(entry["sha256"]) != 64:
                raise ValueError(path)
        if not RELEASE.fullmatch(release):
            raise ValueError(release)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem(f"{where} is damaged: {error!r}", CARRY_ANEW) from error
    return release, files


class Node:
    """The node's own depot."""

    def __init__(self, module, root):
        self.module = module
        self.params = module.params
        self.root = root
        self.releases = self.root / "releases"
        self.current = self.root / "current"

    def before(self):
        """The release that is current."""
        return self.current.resolve().name if self.current.is_symlink() else ""

    def manifests(self):
        """Files of each release that is here."""
        found = {}
        for file in sorted(self.releases.glob(f"*/{MANIFEST}")):
            try:
                found[file.parent.name] = parse(file.read_bytes(), file)[1]
            except Problem:  # preflight names it, if it is the one to be used
                continue
        return found

    def believed(self, depot):
        """Manifest and signature of the wanted release; its signature is good."""
        place = self.params["release"]
        place = place if place == "current" else f"releases/{place}"
        signature = None
        if self.params["signature"] == "required":
            signature = depot.text(f"{place}/{SIGNATURE}", 1 << 20)
        manifest = self.known(signature) or depot.text(f"{place}/{MANIFEST}")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, MANIFEST)
            file.write_bytes(manifest)
            if signature is not None:
                Path(folder, SIGNATURE).write_bytes(signature)
            _signed, problems = signed_manifest(file, self.params, self.module.run_command)
        if problems:
            first = problems[0]["problem"].replace(str(file), f"{depot.url}/{place}/{MANIFEST}")
            raise Problem(first, problems[0]["mend"])
        return manifest, signature

    def known(self, signature):
        """The manifest of a release that is here and has this very signature."""
        for file in self.releases.glob(f"*/{SIGNATURE}") if signature else ():
            if file.read_bytes() == signature:
                return (file.parent / MANIFEST).read_bytes()
        return None

    def bring(self, depot):
        """Bring what a node needs of the wanted release."""
        manifest, signature = self.believed(depot)
        release, files = parse(manifest, f"{depot.url}/{MANIFEST}")
        target = this_target()
        small = {path: entry for path, entry in files.items() if is_small(path, target)}
        folder = self.releases / release
        whole = folder if folder.is_dir() else self.root / "incoming" / release
        whole.mkdir(parents=True, exist_ok=True)
        there = Depot(f"{depot.url}/releases/{release}", self.params["login"])
        fetched = self.complete(there, whole, small)
        for name, data in ((MANIFEST, manifest), (SIGNATURE, signature)):
            if data is not None and (
                not (whole / name).is_file() or (whole / name).read_bytes() != data
            ):
                write(whole / name, data)
        if whole != folder:
            self.releases.mkdir(exist_ok=True)
            os.sync()
            whole.rename(folder)
        return release, fetched

    def complete(self, depot, folder, entries):
        """Bring those of the entries that lack; returns the bytes that were fetched."""
        wanted = lacking(folder, entries)
        if not wanted:
            return 0
        known = held(self.releases, self.manifests(), wanted)
        parts = self.root / "incoming" / f"{folder.name}.parts"
        return take(depot, folder, parts, wanted, known)

    def switch(self, release):
        """Make a release the current one, in one step."""
        if self.current.exists() and not self.current.is_symlink():
            raise Problem(f"{self.current} is in the way: it is not a link", "move it aside")
        new = self.root / ".current.new"
        if new.is_symlink():
            new.unlink()
        new.symlink_to(f"releases/{release}")
        new.replace(self.current)


def further(folder, params):
    """What is asked for beside the small part."""
    files = parse((folder / MANIFEST).read_bytes(), folder / MANIFEST)[1]
    begin = tuple(params["prefixes"])
    packages = {
        f"conda/{path}"
        for lock in params["locks"]
        for path in ENTRY.findall((folder / lock).read_text(encoding="utf-8"))
    }
    return {
        path: entry
        for path, entry in files.items()
        if (begin and path.startswith(begin))
        or path in packages
        or (packages and REPODATA.fullmatch(path))
    }


def add(module):
    """Bring further files to a release that is here; returns the answer."""
    folder = Path(module.params["folder"]).resolve()
    node = Node(module, folder.parent.parent)
    entries = further(folder, module.params)
    lacks, fetched = bool(lacking(folder, entries)), 0
    if lacks and not module.check_mode:
        with alone(node.root):
            depot = Depot(module.params["url"], module.params["login"])
            fetched = node.complete(depot, folder, entries)
    return {"changed": lacks, "release": folder.name, "fetched": fetched}


def ensure(module):
    """Bring what is asked for; returns the answer."""
    params = module.params
    if params["folder"]:
        return add(module)
    node, depot = Node(module, Path(params["depot"])), Depot(params["url"], params["login"])
    before = node.before()
    with alone(node.root):
        release, fetched = node.bring(depot)
        if release != before and not module.check_mode:
            node.switch(release)
    place = node.releases / release if module.check_mode else node.current
    return {
        "changed": release != before or fetched > 0,
        "release": release,
        "depot": str(place),
        "url": f"{depot.url}/releases/{release}",
        "fetched": fetched,
        "diff": {"before": f"{before}\n", "after": f"{release}\n"},
    }


def main():
    """Run as an Ansible module."""
    text = {"type": "str", "default": ""}
    texts = {"type": "list", "elements": "str", "default": []}
    options = dict.fromkeys(("ca", "client_certificate", "user"), text)
    options["client_key"] = dict(text, no_log=False)
    options["password"] = dict(text, no_log=True)
    options["certificates"] = texts
    login = {"type": "dict", "default": {}, "options": options, "apply_defaults": True}
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "release": {"type": "str", "default": "current"},
            "depot": {"type": "path", "default": "/var/lib/landbridge/depot"},
            "folder": {"type": "path"},
            "prefixes": texts,
            "locks": texts,
            "login": login,
            "signature": {"choices": ["required", "ignored"], "default": "required"},
            "keys": dict(texts, no_log=False),
            "allow_downgrade": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    try:
        answer = ensure(module)
    except Problem as problem:
        module.fail_json(msg=str(problem))
    except OSError as error:
        module.fail_json(msg=f"{module.params['depot']}: {error}")
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
