"""What the Makefile calls beside the package."""
