"""One self-contained page to explore results: no server, no network."""
