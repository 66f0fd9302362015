"""What commands take and what they say of themselves; each imports its work when it runs."""
