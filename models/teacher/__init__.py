"""Data sets that a language model helps to make."""
