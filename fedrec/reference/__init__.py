"""The federation as usually implemented, slow and dense: a reference for testing the fast one."""
