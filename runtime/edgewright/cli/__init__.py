"""The `edgewright` command: a table of verbs, each imported only when it is called."""
