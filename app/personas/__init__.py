"""Who a user is when talking with a character."""
