"""The settings of a study's methods: typed, strict, and checked before any job starts."""
