"""Mitogen on whatever processor is free, and otherwise as quick as the lab's own strategy.

Mitogen pins its processes, each kind to one processor: on a machine with two, the controllers of
all stories that run at the same time would share one, and leave the other half idle.
"""

import ansible_mitogen.affinity
import ansible_mitogen.loaders
import ansible_mitogen.strategy

# Before anything of Mitogen starts.
ansible_mitogen.affinity.policy = ansible_mitogen.affinity.Policy()

_Linear = ansible_mitogen.loaders.strategy_loader.get("linear_lab", class_only=True)


class StrategyModule(ansible_mitogen.strategy.StrategyMixin, _Linear):  # type: ignore[misc]
    """The name under which Ansible looks for it."""
