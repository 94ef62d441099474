"""An attack and a defence for fedrec."""
