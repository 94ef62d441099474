"""Tables and figures from records: pure functions of the files that runs have written."""
