"""Running playbooks: what is called, the call, what is seen of it, what is kept of it."""
