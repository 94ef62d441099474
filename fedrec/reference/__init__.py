"""The federation as this field usually writes it: slow, dense, and an oracle for the fast one."""
