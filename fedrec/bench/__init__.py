"""How long a round takes and its parts, against what the machine can do, and its memory."""
