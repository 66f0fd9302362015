"""What `moodline data` does: files in, examples out."""
