"""A study's tables and figures and the cells they need, without the methods."""
