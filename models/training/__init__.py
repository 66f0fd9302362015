"""Training: recipes, rows as tokens, and the two trainers."""
