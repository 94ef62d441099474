"""Tables: one file a kind, and the type that all of them are."""
