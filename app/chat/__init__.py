"""The chat turn and the OpenAI door."""
