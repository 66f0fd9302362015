"""Emotions: training a head, measuring taggers."""
