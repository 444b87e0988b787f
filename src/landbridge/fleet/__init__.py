"""Many nodes: inventories that are edited, nodes that were left behind, nodes that pull."""
