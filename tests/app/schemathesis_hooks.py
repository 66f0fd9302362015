"""Teaches `schemathesis` to send the media types of ours that it does not know."""

import schemathesis

schemathesis.serializer.alias("application/jsonl", "text/plain")
