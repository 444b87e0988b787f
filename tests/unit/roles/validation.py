"""A role's tasks that judge variables, run on values good and bad.

One run of ansible-playbook judges them all; of a bad value, only the tasks that name its variable.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.lab import quick
from tests.unit.roles.modules import ROLES

Task = dict[str, Any]
Values = dict[str, Any]


class Validation:
    """The validation of a role.

    Args:
        role: its name.
        facts: what the node's facts are.
        files: which of the role's files of tasks.
    """

    def __init__(self, role: str, facts: Values, *files: str) -> None:
        self.role, self.facts = ROLES / role, facts
        self.word = re.compile(rf"\b{role}_\w+")
        self.tasks: list[Task] = [
            task
            for file in files or ["validate.yml"]
            for task in yaml.safe_load((self.role / "tasks" / file).read_text())
        ]
        specs = yaml.safe_load((self.role / "meta/argument_specs.yml").read_text())
        self.variables = set(specs["argument_specs"]["main"]["options"])

    def about(self, variable: str) -> list[Task]:
        """The tasks that name a variable, and those whose result they use."""
        words = {variable}
        found: list[Task] = []
        for task in reversed(self.tasks):
            if words & set(re.findall(r"\w+", yaml.safe_dump(task))):
                found.insert(0, task)
                words.update(self.word.findall(str(task.get("when", ""))))
                words.update(self.word.findall(str(task.get("ansible.builtin.assert"))))
                words.update(self.word.findall(str(task.get("vars", ""))))
                words -= self.variables - {variable}
        return found

    def judged(self) -> set[str]:
        """Variables that are judged; a message may name others, for the mend."""
        name = "ansible.builtin.assert"
        tasks = [task | {name: task.get(name, {}) | {"fail_msg": ""}} for task in self.tasks]
        return set(self.word.findall(yaml.safe_dump(tasks))) & self.variables

    def judge(
        self, good: Sequence[Values], bad: Sequence[tuple[str, Values]], folder: Path
    ) -> list[str]:
        """What is said of values; empty where they are found right.

        Args:
            good: sets of values for all tasks.
            bad: sets of values for those that name a variable.
            folder: an empty folder.
        """
        plays = [self._play(values, self.tasks) for values in good]
        plays += [self._play(values, self.about(variable)) for variable, values in bad]
        facts = self._play({}, [{"name": "Facts", "ansible.builtin.set_fact": self.facts}])
        (folder / "playbook.yml").write_text(yaml.safe_dump([facts, *plays], sort_keys=False))
        results = self._run(folder)["plays"][1:]
        hosts = [[task["hosts"]["localhost"] for task in result["tasks"]] for result in results]
        return ["\n".join(h["msg"] for h in tasks if h.get("failed")) for tasks in hosts]

    def _play(self, values: Values, tasks: list[Task]) -> Values:
        """A play that judges values, and ends whatever it finds."""
        files = [self.role / "defaults/main.yml", self.role / "vars/main.yml"]
        return {
            "hosts": "localhost",
            "gather_facts": False,
            "vars_files": [str(file) for file in files],
            "tasks": [
                {**task, "vars": values | task.get("vars", {}), "ignore_errors": True}
                for task in tasks
            ],
        }

    def _run(self, folder: Path) -> Values:
        (folder / "ansible.cfg").write_text("")
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_LIBRARY": str(self.role / "library"),
            "ANSIBLE_MODULE_UTILS": str(self.role / "module_utils"),
            "ANSIBLE_FILTER_PLUGINS": str(self.role / "filter_plugins"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            **quick.environment("mitogen_lab"),
        }
        ansible = Path(sys.executable).with_name("ansible-playbook")
        command = [ansible, "-i", "localhost,", "-c", "local", folder / "playbook.yml"]
        python = ["-e", f"ansible_python_interpreter={sys.executable}"]
        done = subprocess.run(
            [*command, *python], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        answer: Values = json.loads(done.stdout[done.stdout.index("{") :])
        return answer
