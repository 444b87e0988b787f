"""What is called: the arguments and the environment of `ansible-playbook`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from landbridge.errors import InputError

SYSTEM_COLLECTIONS = "/usr/share/ansible/collections"
_GIVE = """give -e KEY=VALUE, -e @FILE or -e '{"KEY": VALUE}', in quotes of the shell's"""


@dataclass(frozen=True)
class Playbook:
    """One run of one playbook; every path is absolute."""

    path: Path
    inventory: Path
    limit: str | None = None
    tags: str | None = None
    check: bool = False
    diff: bool = False
    extra_vars: tuple[str, ...] = ()
    more_inventories: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not self.inventory.exists():
            raise InputError(
                f"inventory {self.inventory} does not exist",
                "give the path of an inventory file or folder",
            )
        for text in self.extra_vars:
            _names(text)

    def arguments(self) -> list[str]:
        """Arguments of `ansible-playbook`, the playbook last."""
        flags = [("--limit", self.limit), ("--tags", self.tags)]
        return [
            "--inventory",
            str(self.inventory),
            *(part for path in self.more_inventories for part in ("--inventory", str(path))),
            *(part for name, value in flags if value for part in (name, value)),
            *(["--check"] if self.check else []),
            *(["--diff"] if self.diff else []),
            *(part for text in self.extra_vars for part in ("--extra-vars", text)),
            str(self.path),
        ]

    def shown(self) -> list[str]:
        """The arguments for logs: values of extra variables may be secrets, names are not."""
        named = {text: _names(text) for text in self.extra_vars}
        return [named.get(argument, argument) for argument in self.arguments()]


def _names(text: str) -> str:
    """What may be shown of extra variables: their names, or their file.

    Raises:
        InputError: Ansible would not understand them; the text may be a secret and is not shown.
    """
    if text.startswith("@"):
        return text
    if text.startswith("{"):
        try:
            loaded = yaml.safe_load(text)
        except yaml.YAMLError as error:
            said = getattr(error, "problem", None)
            raise InputError(f"--extra-vars {{...}} is no JSON: {said}", _GIVE) from error
        return "{" + ", ".join(f"{name}: ..." for name in loaded) + "}"
    if "=" not in text:
        raise InputError("--extra-vars: neither KEY=VALUE nor @FILE nor {JSON}", _GIVE)
    return text.split("=", 1)[0] + "=..."


def ansible_environment(content: Path, prefix: Path, base: Mapping[str, str]) -> dict[str, str]:
    """Variables that make Ansible this toolkit's own, whatever the caller's shell says.

    Args:
        content: the content root.
        prefix: the toolkit's virtual environment (`sys.prefix`).
        base: the caller's environment; only PATH and host-key checking are taken from it.

    Returns:
        The variables to set over the caller's environment.
    """
    return {
        "PATH": f"{prefix / 'bin'}:{base.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
        "ANSIBLE_CONFIG": str(content / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{prefix / 'collections'}:{SYSTEM_COLLECTIONS}",
        # ansible-runner switches the check off where nobody speaks of it.
        "ANSIBLE_HOST_KEY_CHECKING": base.get("ANSIBLE_HOST_KEY_CHECKING", "True"),
        # Ansible refuses to start without a UTF-8 locale; EL 9 and later have this one built in.
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_NOCOLOR": "1",
    }
