"""Schema changes, one file per version. A released version never changes."""
