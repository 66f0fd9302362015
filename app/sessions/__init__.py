"""Conversations: a tree of messages for each."""
