"""`moodline bench recall`: what recalling costs a turn once there is much to recall.

A turn embeds its message and the talk, and searches and ranks the character's lines and the memories of its user. The
texts are those of a file, or made up; rows beyond what is embedded for real are copies with noise and other ids.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer
from rich.progress import track

from app.bench.measure import embedded
from app.bench.report import report
from app.cli.console import err, settings
from app.services import load_encoder
from retrieval.bank import Bank, Query, Records
from retrieval.emotion import EmotionTagger
from retrieval.encoder import Encoder, Vectors
from retrieval.rank import Strategy, rank
from retrieval.terms import terms

LIMIT = 4
"""Lines, and memories, in a prompt."""
EMBEDDED = 2000
"""Texts embedded for real."""
JITTER = 0.012
"""Deviation of each number of a copied vector: its cosine to the original is then 0.97."""
ENGLISH = "sea boat storm lamp bread letter sister winter garden promise song river bridge harvest fever doctor market"
CHINESE = "海 船 风暴 灯 面包 信 姐姐 冬天 花园 约定 歌 河 桥 收成 发烧 医生 市场 火车 生日 电影 老师 考试 下雨 回家"


def run(rows: int, turns: int, file: Path | None) -> None:
    """Measure `turns` turns over `rows` lines and as many memories, by our ranking and by the paper's plain one."""
    texts = _texts(file, min(rows, EMBEDDED) + turns)
    with err.status("loading the encoder"):
        encoder, tagger = load_encoder(settings())
    asked, texts = texts[:turns], texts[turns:]
    records = _records(encoder, tagger, texts, rows)
    lines = Bank(encoder.dimension)
    lines.add(replace(records, contexts=None, previous=None))
    memories = Bank(encoder.dimension)
    memories.add(records)
    spans: dict[str, dict[str, list[float]]] = {"moodline": defaultdict(list), "ordinary": defaultdict(list)}
    compared: tuple[tuple[str, Strategy], ...] = (("moodline", "calibrated"), ("ordinary", "ordinary"))
    for text in track(asked, "recalling", console=err):
        for system, strategy in compared:
            _turn(encoder, tagger, (lines, memories), text, strategy, spans[system])
    results = {system: _summed(numbers) for system, numbers in spans.items()}
    results["moodline"] |= _upkeep(records, memories)
    report("recall", results, lines=rows, memories=rows, turns=turns, texts=str(file) if file else "made up")


def _texts(file: Path | None, count: int) -> list[str]:
    if file:
        try:
            found = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"{file} can't be read as UTF-8 text: {error}.", param_hint="--data") from None
        if not found:
            raise typer.BadParameter(f"{file} is empty; give a file with one text a line.", param_hint="--data")
        return [found[n % len(found)] for n in range(count)]
    generator = np.random.default_rng(1)
    return [" ".join(generator.choice(f"{ENGLISH} {CHINESE}".split(), generator.integers(6, 30))) for _ in range(count)]


def _records(encoder: Encoder, tagger: EmotionTagger, texts: list[str], rows: int) -> Records:
    vectors = embedded(encoder.encode_passages, texts, "embedding texts")
    generator = np.random.default_rng(2)
    chosen = np.concatenate([np.arange(len(texts)), generator.integers(0, len(texts), rows)])[:rows]
    noisy = vectors[chosen] + generator.normal(0, JITTER, (rows, vectors.shape[1])).astype(np.float32)
    found = [terms(text) for text in texts]
    return Records(
        ids=np.arange(1, rows + 1),
        vectors=noisy,
        emotions=tagger.tag(texts, vectors)[chosen],
        terms=[found[n] for n in chosen],
        contexts=noisy[::-1].copy(),
        previous=[n if n % 20 else 0 for n in range(rows)],
    )


def _turn(
    encoder: Encoder,
    tagger: EmotionTagger,
    banks: tuple[Bank, Bank],
    text: str,
    strategy: Strategy,
    spans: dict[str, list[float]],
) -> None:
    began = time.perf_counter()
    vectors: Vectors = encoder.encode_queries([text, f"user0: {text}"])
    felt = tagger.tag([text], vectors[:1])[0]
    embedded_at = time.perf_counter()
    for bank, vector in zip(banks, vectors, strict=True):
        found = bank.find(Query(vector, terms(text), felt), strategy, limit=LIMIT)
        rank(found, felt, strategy, limit=LIMIT)
    ended = time.perf_counter()
    spans["embed"].append((embedded_at - began) * 1000)
    spans["search and rank"].append((ended - embedded_at) * 1000)
    spans["recall"].append((ended - began) * 1000)


def _upkeep(records: Records, bank: Bank) -> dict[str, float]:
    """Filling a bank with all rows, as after a restart, and adding one row, as after a turn; medians in ms."""
    numbers: dict[str, list[float]] = {"cold_load_ms": [], "add_one_ms": []}
    count = len(records.ids)
    for turn in range(20):
        began = time.perf_counter()
        Bank(records.vectors.shape[1]).add(records)
        numbers["cold_load_ms"].append((time.perf_counter() - began) * 1000)
        one = replace(records.take([turn]), ids=[count + 1 + turn])
        began = time.perf_counter()
        bank.add(one)
        numbers["add_one_ms"].append((time.perf_counter() - began) * 1000)
    return {name: float(np.median(values)) for name, values in numbers.items()} | {"bytes": bank.nbytes}


def _summed(spans: dict[str, list[float]]) -> dict[str, float]:
    return {
        f"{name} p{percent} ms": float(np.percentile(values, percent))
        for name, values in spans.items()
        for percent in (50, 99)
    }
