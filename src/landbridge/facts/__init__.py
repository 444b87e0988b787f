"""What is: everything known of a node, gathered in one pass."""
