"""A text in which no character comes twice: long replies of tests that do not go round in circles."""

NEVER_TWICE = "".join(map(chr, range(0x4E00, 0x4E00 + 1600)))
