"""Tables, one kind per file, and the type that all of them share."""
