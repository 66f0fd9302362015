"""What stands between a user and a character."""
