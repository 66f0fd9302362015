"""Past lines: what a character has said before, uploaded, cut into units and recalled."""
