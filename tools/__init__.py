"""Scripts called by the Makefile or by hand; not part of the package."""
