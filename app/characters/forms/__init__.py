"""The forms that cards are written in, each made into the data of Character Card V2 and V3. Pure."""
