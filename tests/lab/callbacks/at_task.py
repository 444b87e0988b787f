"""Does something to the lab in the middle of a converge: when a task of a given name begins.

LAB_AT_TASK has words of the task's name, LAB_DO the command; ANSIBLE_CALLBACKS_ENABLED=at_task and
ANSIBLE_CALLBACK_PLUGINS make Ansible load it.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Acts once, and the task waits until it has."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "at_task"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self.awaited = os.environ["LAB_AT_TASK"]

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002
        """Act if it is the task."""
        if self.awaited and self.awaited in task.get_name():
            self.awaited = ""
            root = Path(__file__).parents[3]
            subprocess.run(os.environ["LAB_DO"], shell=True, check=True, cwd=root)  # noqa: S602
