"""What /metrics tells, in Prometheus' format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import Counter, Gauge, Histogram

from models.engine import Finish

ENDED = Counter("moodline_turns", "Turns by how they ended.", ["outcome"])
FIRST_TOKEN = Histogram(
    "moodline_first_token_seconds",
    "From the request to the first text of the reply.",
    buckets=(0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6),
)
STEPS = Histogram(
    "moodline_step_seconds",
    "Time of each step of a turn.",
    ["step"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
TOKENS = Counter("moodline_tokens", "Tokens by kind: prompt, cached (of the prompt), completion.", ["kind"])
RESAMPLED = Counter(
    "moodline_resamples",
    "Second attempts at a reply, by why: echo (of an earlier one), thoughts (nothing else), speaker (another's words).",
    ["why"],
)
CUT = Counter("moodline_replies_cut", "Replies ended early: loop (in circles), speaker (another spoke).", ["why"])
THOUGHTS = Counter("moodline_thoughts_hidden", "Replies that thoughts were taken out of.")
REFUSED = Counter(
    "moodline_refused", "Requests refused: requests, tokens, streams, followers (of a key), busy (the queue).", ["why"]
)
REPLIES = Gauge("moodline_replies", "Replies being spoken, and requests waiting to.", ["state"])
QUEUE = Histogram(
    "moodline_queue_seconds",
    "What requests waited before the language model could speak to them.",
    buckets=(0.001, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0),
)
INDEX_BYTES = Gauge("moodline_index_bytes", "Memory of the vector indexes.", ["index"])
WAITING = Gauge("moodline_rows_waiting_for_vectors", "Lines and memories without a vector of the current encoder.")


def observe_reply(resampled: str | None, cut: str | None, hidden: str) -> None:
    """Count what was done to a reply."""
    if resampled:
        RESAMPLED.labels(resampled).inc()
    if cut:
        CUT.labels(cut).inc()
    if hidden:
        THOUGHTS.inc()


def observe_turn(spans: Mapping[str, float], outcome: str) -> None:
    """Count a turn that ended as `outcome`; `spans` are its stopwatch's, in milliseconds."""
    ENDED.labels(outcome).inc()
    for name, span in spans.items():
        if name == "first_token":
            FIRST_TOKEN.observe(span / 1000)
        elif name not in ("total", "queue"):
            STEPS.labels(name).observe(span / 1000)


def observe_tokens(finishes: Sequence[Finish]) -> None:
    """Count what the choices of one request cost; they share a prompt."""
    for finish in finishes[:1]:
        TOKENS.labels("prompt").inc(finish.prompt_tokens)
        TOKENS.labels("cached").inc(finish.cached_tokens)
    TOKENS.labels("completion").inc(sum(finish.completion_tokens for finish in finishes))
