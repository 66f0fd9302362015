"""Groups: several characters in one conversation."""
