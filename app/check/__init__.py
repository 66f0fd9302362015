"""Whether the rows of the database agree with each other, and putting right what does not."""
