"""What a study's methods are set to: typed, strict, and checked before any job starts."""
