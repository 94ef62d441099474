"""The `fedrec` command; each module adds its own subcommands."""
