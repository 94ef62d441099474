"""Raw files in, leave-one-out splits out."""
