"""Docker on nodes, as its survey tells of it: the answer, its words, its containers as YAML."""
