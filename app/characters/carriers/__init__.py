"""What carries cards: PNG, JPEG, WEBP, CHARX, and texts. Bytes in, bytes out; nothing is written, fetched or drawn."""
