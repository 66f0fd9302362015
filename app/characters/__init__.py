"""Characters: what they are, how they are kept, and the samples."""
