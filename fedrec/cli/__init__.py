"""What `fedrec` can do, stage by stage; each module adds its own subcommands."""
