"""Data sets: foreign formats, scripts, and what a person reads before training. No torch."""
