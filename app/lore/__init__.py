"""The world a character knows: lorebooks and when their entries speak."""
