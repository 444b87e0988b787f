"""From stack to bundle: fetch, assemble, index, describe, verify."""
