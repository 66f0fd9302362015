"""Part a reply from the thoughts that language models write into it, while it streams. Pure.

What is a thought, by whose habit it is one:

* `<think>…</think>` (DeepSeek-R1, Qwen3, QwQ) and the same with `thinking`, `thought` and the other `NAMES`; the tags
  of other families in `PAIRS`. A tag may be nested in its like. One that is never closed hides the rest of the reply.
* channels of gpt-oss's harmony format: `analysis` and `commentary`, also where the control tokens were lost and only
  `analysis…assistantfinal` is left of them
* `[I must not show it.]` at the beginning of a line, as CoSER writes inner thoughts (arXiv 2502.09082): a sentence in
  square brackets; and `[inner monologue: …]`, `【内心：…】` anywhere. What stands in round brackets or asterisks is
  acted, and is seen.

A tag in backquotes or in quotation marks of its own is one that is spoken of, and is seen.
"""

from __future__ import annotations

import re

NAMES = (
    *("think", "thinking", "thought", "thoughts", "reasoning", "reflection", "analysis", "scratchpad", "cot"),
    *("inner", "inner_thought", "inner_thoughts", "inner_monologue", "monologue", "思考", "内心", "内心独白", "独白"),
)
PAIRS: dict[str, tuple[str, ...]] = {f"<{name}>": (f"</{name}>",) for name in NAMES} | {
    "[think]": ("[/think]",),  # Magistral
    "<seed:think>": ("</seed:think>",),
    "<mm:think>": ("</mm:think>",),  # MiniMax
    "◁think▷": ("◁/think▷",),  # Kimi
    "<|begin_of_thought|>": ("<|end_of_thought|>",),
    "<|start_thinking|>": ("<|end_thinking|>",),  # Cohere
    "<|channel>thought": ("<channel|>",),  # Gemma 4
    "<|channel|>analysis<|message|>": ("<|channel|>final<|message|>", "<|end|>"),
    "<|channel|>commentary<|message|>": ("<|channel|>final<|message|>", "<|end|>"),
}
"""How a thought begins, in lower case, and how it may end."""
FRAMES = ("<|start|>assistant", "<|start|>", "<|channel|>final<|message|>", "<|return|>")
"""What stands around the channels of the harmony format and is never part of a text."""
BARE = "analysis"
BARE_ENDS = ("assistantfinal", "assistant final")
BARE_NEXT = re.compile(r"[A-Z\"'“‘]")
TAGS = sorted({*PAIRS, *(end for ends in PAIRS.values() for end in ends), *FRAMES}, key=len, reverse=True)

_MARK = re.compile(r"[`<\[【◁]")
_IN_CODE = re.compile(r"[`\n]")
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」", "『": "』", "«": "»"}
_BRACKETS = {"[": "]", "【": "】"}
LONGEST_ASIDE = 600
"""Characters within which a bracket is closed, if it holds a thought."""
_LABEL = re.compile(
    r"\s*(?:inner|internal|thoughts?|thinking|内心|心理|心想|心声|独白|思考)"
    r"(?: (?:monologue|thoughts?|voice)|独白|想法|活动)?\s*[:：]",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_WIDE = re.compile(r"[\u3400-\u9fff]")

Span = tuple[str, bool]
"""A stretch of the reply, and whether it is seen."""


class ThoughtFilter:
    """Feed it pieces; it gives them back in stretches, each seen or not. How the reply was cut changes nothing.

    `opened` is the tag that the template has begun the reply with, if any. `begun` says that the reply goes on in the
    middle of a line. Without `asides` only tags count. `hidden` has the thoughts without their tags, a line end between
    two of them.
    """

    def __init__(self, opened: str = "", *, begun: bool = False, asides: bool = True) -> None:
        self.hidden = ""
        self._asides = asides
        self._buffer = ""
        self._spans = list[Span]()
        # What is a thought only if an end of it is still to come: all that follows a tag of the template's, and what
        # comes between the ends of two nested thoughts.
        self._doubtful: list[str] | None = [] if opened in PAIRS else None
        self._tag = opened
        self._ends = PAIRS.get(opened, ())
        self._depth = len(self._ends[:1])
        self._blank = True
        self._code = 0
        self._last = "." if begun else ""
        self._line = self._fresh = not begun
        self._swallow = False

    def feed(self, piece: str) -> list[Span]:
        """What `piece` makes certain."""
        self._buffer += piece
        return self._run(over=False)

    def end(self, *, cut: bool = False) -> list[Span]:
        """What is left; `cut` says that the reply was broken off before its end.

        A thought that the template began, or that another was nested in, and that a whole reply never closes was none.
        """
        spans = self._run(over=True)
        if self._doubtful and not cut:
            spans += [(text, True) for text in self._doubtful]
        elif self._doubtful:
            spans += self._forget("".join(self._doubtful))
        self._doubtful = None
        return spans

    @property
    def open(self) -> bool:
        """Whether a thought goes on."""
        return self._depth > 0

    def told_apart(self) -> None:
        """The server parts thoughts from the reply itself, so what comes as the reply is none."""
        if self._doubtful == [] and not self._buffer:
            self._doubtful, self._depth = None, 0

    def _run(self, *, over: bool) -> list[Span]:
        while self._buffer and (self._inside(over) if self._depth else self._outside(over)):
            pass
        spans, self._spans = self._spans, []
        return spans

    def _inside(self, over: bool) -> bool:
        """Look for the end of a thought; false when more must come first."""
        lowered = self._buffer.translate(_LOWER)
        tags = (*self._ends, self._tag)
        at, tag = min(((at, tag) for tag in tags if (at := lowered.find(tag)) >= 0), default=(-1, ""))
        if at < 0:
            self._think(len(lowered) - (0 if over else held_back(lowered, tags)))
            return False
        self._think(at)
        if tag == self._tag and self._blank:
            self._drop(len(tag))  # the template began with it, and the language model too
            return True
        if self._doubtful is not None:
            self._spans += self._forget("".join(self._doubtful))
        self._doubtful = None
        self._depth += 1 if tag == self._tag else -1
        if self._depth:
            self._think(len(tag))
            self._doubtful = None if tag == self._tag else []
        else:
            self._drop(len(tag))
        return True

    def _outside(self, over: bool) -> bool:
        """Look for the beginning of a thought; false when more must come first."""
        if self._fresh and (settled := self._bare(over)) is not None:
            return settled
        found = (_IN_CODE if self._code else _MARK).search(self._buffer)
        if not found or found.start():
            self._show(found.start() if found else len(self._buffer))
            return True
        if self._buffer[0] == "`":
            return self._ticks(over)
        if self._code:
            self._code = self._code if self._code >= 3 else 0  # a single one may be an apostrophe
            self._show(1)
            return True
        return self._mark(over)

    def _mark(self, over: bool) -> bool:
        lowered = self._buffer.translate(_LOWER)
        tag = next((tag for tag in TAGS if lowered.startswith(tag)), "")
        quoted = self._last in _QUOTES
        if not over and any(t.startswith(lowered) and (quoted or t != tag) for t in TAGS):
            return False
        if not tag:
            return self._aside(over) if self._asides and self._buffer[0] in _BRACKETS else self._show(1)
        if quoted and self._buffer[len(tag) : len(tag) + 1] == _QUOTES[self._last]:
            return self._show(len(tag))
        self._drop(len(tag))
        if tag in PAIRS:
            self._open(tag, PAIRS[tag])
        return True

    def _open(self, tag: str, ends: tuple[str, ...]) -> None:
        self._tag, self._ends, self._depth, self._blank = tag, ends, 1, True
        self.hidden += "\n" if self.hidden else ""

    def _bare(self, over: bool) -> bool | None:
        """A harmony reply without its control tokens begins with the channel's name; None when this does not."""
        if len(self._buffer) <= len(BARE) and BARE.startswith(self._buffer) and not over:
            return False
        if self._buffer.startswith(BARE) and BARE_NEXT.match(self._buffer, len(BARE)):
            self._drop(len(BARE))
            self._open(BARE, BARE_ENDS)
            return True
        return None

    def _ticks(self, over: bool) -> bool:
        ticks = len(self._buffer) - len(self._buffer.lstrip("`"))
        if ticks == len(self._buffer) and not over:
            return False
        if not self._code:
            self._code = ticks
        elif ticks == self._code or ticks > self._code >= 3:
            self._code = 0
        return self._show(ticks)

    def _aside(self, over: bool) -> bool:
        """A bracket: a thought when what is in it reads like one."""
        opening, closing = self._buffer[0], _BRACKETS[self._buffer[0]]
        inner, closed, after = self._buffer[1 : LONGEST_ASIDE + 3].partition(closing)
        fits = "\n" not in inner and len(inner) <= LONGEST_ASIDE
        if fits and not over and not after:
            return False
        thought = self._line and opening == "[" and _is_sentence(inner) and after[:1] not in tuple("(:：[")
        if not fits or not (thought or _LABEL.match(inner)):
            return self._show(1)
        self._drop(1)
        self.hidden += "\n" if self.hidden else ""
        self._think(len(inner))  # one that is not closed was broken off
        self._drop(len(closed))
        return True

    def _show(self, length: int) -> bool:
        text, self._buffer = self._buffer[:length], self._buffer[length:]
        kept = text.lstrip() if self._swallow and (not self._last or self._last.isspace()) else text
        if len(kept) < len(text):
            self._spans.append((text[: len(text) - len(kept)], False))
        if not kept:
            return True
        self._spans.append((kept, True))
        self._swallow = False
        self._last = kept[-1]
        self._fresh = False
        *before, line = kept.rsplit("\n", 1)
        self._line = (bool(before) or self._line) and not line.strip()
        return True

    def _drop(self, length: int) -> None:
        """A tag: neither seen nor part of a thought."""
        self._spans.append((self._buffer[:length], False))
        self._buffer = self._buffer[length:]
        self._swallow, self._fresh = True, False

    def _think(self, length: int) -> None:
        text, self._buffer = self._buffer[:length], self._buffer[length:]
        self._blank = self._blank and not text.strip()
        if self._doubtful is not None:
            self._doubtful.append(text)
        else:
            self._spans += self._forget(text)

    def _forget(self, text: str) -> list[Span]:
        self.hidden += text
        return [(text, False)] if text else []


def _is_sentence(text: str) -> bool:
    """Whether it reads like a thought, and not like a name, a place to fill in, a state, or an action in lower case."""
    if not text[:1].isalpha() or text[0].islower() or re.search(r"[:：=|/\d]", text[:30]):
        return False
    words = _WORD.findall(text)
    titled = all(word[0].isupper() for word in words)
    return len(_WIDE.findall(text)) >= 5 or (len(words) >= 3 and not titled) or (len(words) == 2 and text.endswith("."))


def opened_by(prompt: str) -> str:
    """The tag of a thought that a rendered prompt ends with; empty where it ends otherwise."""
    end = prompt.rstrip().translate(_LOWER)
    return next((tag for tag in PAIRS if end.endswith(tag)), "")


def held_back(text: str, tags: tuple[str, ...]) -> int:
    """How many of the last characters could be the beginning of a tag."""
    longest = max(map(len, tags), default=1) - 1
    lengths = range(min(longest, len(text)), 0, -1)
    return next((n for n in lengths if any(tag.startswith(text[-n:]) for tag in tags)), 0)


def without_thoughts(text: str) -> str:
    """A whole text without thoughts in tags. Where one was never closed, nothing says what is thought: all stays."""
    parted = ThoughtFilter(asides=False)
    spans = [*parted.feed(text), *parted.end()]
    return "".join(span for span, seen in spans if seen).strip() if parted.hidden and not parted.open else text
