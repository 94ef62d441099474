"""What a study makes, and from which cells: tables and figures, without the methods."""
