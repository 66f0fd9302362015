"""The server: characters, conversations, and the HTTP they are reached through."""
