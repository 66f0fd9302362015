"""Rows: the prompt is what an engine reads, to the byte, and only what the character says is learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models.batcher import Batcher
from models.engine import EngineRefused, Sampling
from models.example import Example
from models.golden import GOLDEN
from models.local import LocalEngine
from models.prompt import Layout, render
from models.scene import Message, Scene
from models.template import ChatTemplate
from models.training.recipe import Data
from models.training.rows import UNLEARNT, rows_of

TEMPLATES = sorted(file.stem for file in (Path(__file__).parents[1] / "templates").glob("*.jinja"))
TALK = Scene(
    character="Mara",
    language="en",
    persona="Keeps a lighthouse.",
    lines=("Boy: Hungry?\nMara: Fish.",),
    mood="There is sadness in this talk.",
    history=(
        Message("assistant", "  Ahoy, and mind the step. "),
        Message("user", "Mara said: hello?"),
        Message("assistant", "Aye.\n\nAye, I said."),
        Message("user", "Why the lamp?"),
    ),
)
REPLY = "Somebody has to. <|im_end|> You'd know."


@pytest.fixture(scope="module")
def tokenizer(unpacked: Path) -> PreTrainedTokenizerFast:
    """SmolLM2's own."""
    return AutoTokenizer.from_pretrained(unpacked)


def _with(tokenizer: PreTrainedTokenizerFast, name: str) -> PreTrainedTokenizerFast:
    other = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    other.chat_template = (Path(__file__).parents[1] / "templates" / f"{name}.jinja").read_text("utf-8")
    ends = ["<|im_end|>", "<|eot_id|>", "<end_of_turn>", "</s>", "<start_of_turn>", "<|start_header_id|>"]
    other.add_special_tokens({"additional_special_tokens": ends})
    other.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    return other


@pytest.mark.parametrize("layout", get_args(Layout))
@pytest.mark.parametrize("scene", GOLDEN, ids=lambda scene: scene.language)
async def test_a_prompt_is_read_in_training_as_the_engine_reads_it_in_serving(
    scene: Scene,
    layout: Layout,
    smollm: LocalEngine,
    tokenizer: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
):
    served = []
    submit = Batcher.submit
    monkeypatch.setattr(Batcher, "submit", lambda self, work: (served.append(list(work.prompt)), submit(self, work))[1])

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    prompt = render(scene, layout=layout, budget=2000, window=40, count=count)
    [event async for event in smollm.stream(prompt.messages, Sampling(max_tokens=1))]
    rows = rows_of([Example(scene, REPLY)], tokenizer, Data(context=2048, layout=layout))

    assert [list(rows.rows[0].prompt)] == served


@pytest.mark.parametrize("name", ["own", *TEMPLATES])
def test_only_what_the_character_says_is_learnt_and_where_it_ends(name: str, tokenizer: PreTrainedTokenizerFast):
    tokenizer = tokenizer if name == "own" else _with(tokenizer, name)

    (row,) = rows_of([Example(TALK, REPLY)], tokenizer, Data(context=2048)).rows

    learnt = tokenizer.decode([token for token in row.labels if token != UNLEARNT])
    for said in ("Ahoy, and mind the step.", "Aye.\n\nAye, I said.", "Somebody has to.", "You'd know."):
        assert said in learnt
    for other in ("hello?", "Why the lamp", "Hungry", "sadness", "lighthouse", "<|im_start|>", "[INST]", "user"):
        assert other not in learnt
    ends = [token for token in row.labels if token in set(tokenizer.added_tokens_decoder)]
    assert len(ends) == 3, "every turn ends with one token that ends it, and what a user could forge is none"
    assert row.reply[-1] in set(tokenizer.added_tokens_decoder)


def test_the_reply_alone_is_learnt_where_the_row_says_so(tokenizer: PreTrainedTokenizerFast):
    (row,) = rows_of([Example(TALK, REPLY, learn="reply")], tokenizer, Data(context=2048)).rows

    assert row.labels == [UNLEARNT] * len(row.prompt) + list(row.reply)


def test_a_template_that_opens_a_thought_can_not_be_trained_and_says_so(tokenizer: PreTrainedTokenizerFast):
    other = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    other.chat_template = tokenizer.chat_template.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>\n")
    assert ChatTemplate(other).opened

    with pytest.raises(EngineRefused, match="Where it opens a thought by itself"):
        rows_of([Example(TALK, REPLY)], other, Data(context=2048))


def test_a_reply_that_is_begun_is_gone_on_with(tokenizer: PreTrainedTokenizerFast):
    (row,) = rows_of([Example(replace(TALK, begun="Some"), "body has to.")], tokenizer, Data(context=2048)).rows

    assert tokenizer.decode(row.prompt).endswith("<|im_start|>assistant\nSome")
    assert tokenizer.decode(row.reply) == "body has to.<|im_end|>"


def test_a_pair_shares_its_prompt(tokenizer: PreTrainedTokenizerFast):
    (row,) = rows_of([Example(TALK, "Aye.", rejected="I am an assistant.")], tokenizer, Data(context=2048)).rows

    assert tokenizer.decode(row.rejected) == "I am an assistant.<|im_end|>"
    assert tokenizer.decode(row.reply) == "Aye.<|im_end|>"


def test_what_is_too_long_loses_history_and_never_the_reply(tokenizer: PreTrainedTokenizerFast):
    history = tuple(
        Message("user" if n % 2 else "assistant", f"This is what was said as number {n}.") for n in range(60)
    )
    long = replace(TALK, history=history)
    reply = "The whole of it, " * 20

    rows = rows_of(
        [Example(long, reply), Example(replace(TALK, persona="word " * 600), reply)], tokenizer, Data(context=512)
    )

    assert rows.too_long == 1
    (row,) = rows.rows
    assert len(row.ids) <= 512
    assert "number 59" in tokenizer.decode(row.prompt)
    assert "number 0." not in tokenizer.decode(row.prompt)
    assert tokenizer.decode(row.reply) == reply + "<|im_end|>"


@pytest.mark.parametrize("scene", GOLDEN, ids=lambda scene: scene.language)
def test_rows_tell_how_many_tokens_are_read_and_learnt(scene: Scene, tokenizer: PreTrainedTokenizerFast):
    rows = rows_of([Example(scene, "好。")], tokenizer, Data(context=2048))

    (row,) = rows.rows
    assert rows.tokens == rows.longest == len(row.ids)
    assert rows.learnt == sum(label != UNLEARNT for label in row.labels)
