"""Benchmarks of the server: commands, never tests."""
