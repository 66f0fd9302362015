"""Memories: what is kept of an exchange, and how people see and change it."""
