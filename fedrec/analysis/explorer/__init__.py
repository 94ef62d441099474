"""One self-contained page in which results can be explored: no server, no network."""
