"""`moodline bench lines`: how near recalled lines come to what the character really said next.

The running dialogue is a context of CharacterEval, the gold reply its next line, the bank what the role says in its
other scenes. A recalled unit is good when its answer is like the gold reply: ROUGE-L over letters and digits, because
what a prompt is given is a voice to imitate. The oracle ranks the bank by that very number.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import typer
from rich.progress import track

from app.bench.baselines import Bm25, Scores, ordered, words
from app.bench.contexts import Corpus, Pair, read_contexts, tells
from app.bench.measure import embedded, gain, means
from app.bench.overlap import rouge_l
from app.bench.report import report
from app.chat.feeling import TALK
from app.cli.console import err, settings
from app.lines.store import line_terms
from app.services import load_encoder
from retrieval import bank as search
from retrieval.calibrated import LINES
from retrieval.emotion import EMOTIONS
from retrieval.encoder import Encoder, Vectors
from retrieval.leak import folded
from retrieval.rank import rank
from retrieval.terms import Terms, terms
from retrieval.units import Turn, Unit, query_key

DEPTHS = (1, 5, 10)
MEASURED = {
    "best@k": "ROUGE-L F1 (letters, digits) to the gold reply of the nearest of the k recalled answers",
    "mean@k": "of all k",
    "recall@k": "share of pairs whose nearest unit of the whole bank, by ROUGE-L, is among the k",
    "leaks": "recalled units that are of the running dialogue or give its gold reply to the same words",
}

_BEST = tuple(f"best@{k}" for k in DEPTHS)


@dataclass(frozen=True)
class Bank:
    """What can be recalled for the pairs of a scene. `vectors` [n, dimension] are those of the units' keys."""

    units: tuple[Unit, ...]
    vectors: Vectors
    bm25: Bm25
    ours: search.Bank


@dataclass(frozen=True)
class Query:
    """A pair as it is searched for.

    `vector` is its key's; `joined` is its whole history's as Index's code joins it. `likeness` is the ROUGE-L of each
    answer in the bank to the gold reply.
    """

    pair: Pair
    key: str
    words: tuple[str, ...]
    vector: Vectors
    joined: Vectors
    likeness: Scores


System = Callable[[Query, Bank], Sequence[int]]


def moodline(query: Query, bank: Bank) -> Sequence[int]:
    """As a turn recalls lines: meaning of the keys, words of key and answer, no feelings. Ids are places from 1 on."""
    found = bank.ours.find(search.Query(query.vector, terms(query.key)), limit=max(DEPTHS))
    return [ranked.id - 1 for ranked in rank(found, None, limit=max(DEPTHS), calibration=LINES) if ranked.kept]


def dense(query: Query, bank: Bank) -> Sequence[int]:
    """Cosine of the keys' vectors."""
    return ordered(bank.vectors @ query.vector)


def bm25(query: Query, bank: Bank) -> Sequence[int]:
    """BM25 of the keys' words."""
    return ordered(bank.bm25.scores(query.words))


def index_classic(query: Query, bank: Bank) -> Sequence[int]:
    """As Index's code searches: the whole history as one text, with only its first speaker anonymised."""
    return ordered(bank.vectors @ query.joined)


def random(query: Query, bank: Bank) -> Sequence[int]:
    """Any order, the same in every run."""
    seed = np.frombuffer(query.pair.context[-1].text.encode(), np.uint8)
    order: list[int] = np.random.default_rng(seed).permutation(len(bank.units)).tolist()
    return order


def oracle(query: Query, _bank: Bank) -> Sequence[int]:
    """Nearest to the gold reply first: what no search can exceed."""
    return ordered(query.likeness)


SYSTEMS: Mapping[str, System] = {
    "moodline": moodline,
    "dense": dense,
    "bm25": bm25,
    "index-classic": index_classic,
    "random": random,
    "oracle": oracle,
}


def run(data: Path, profiles: Path | None) -> None:
    """Measure every system on the same pairs and banks, and print the report."""
    corpus = read_contexts(data, profiles)
    with err.status("loading the encoder"):
        encoder, _ = load_encoder(settings())
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in SYSTEMS}
    sizes, told, repeated = [], 0, 0
    for bank, queries, left_out in _tasks(corpus, encoder):
        told += left_out
        for query in queries:
            sizes.append(len(bank.units))
            repeated += bool((query.likeness == 1).any())
            for name, system in SYSTEMS.items():
                rows[name].append(_measured(query, bank, system(query, bank)))
    report(
        "lines",
        {name: means(measured, totals={"leaks"}) for name, measured in rows.items()},
        pairs=len(sizes),
        roles=len({pair.role for pair in corpus.pairs}),
        scenes=sum(map(len, corpus.scenes.values())),
        mean_bank=round(statistics.fmean(sizes), 1) if sizes else 0,
        gold_said_elsewhere=repeated,
        left_out_as_same_scene=told,
        gain_over_dense={name: _gain(measured, rows["dense"]) for name, measured in rows.items() if measured},
        encoder=encoder.id,
        metrics=MEASURED,
    )


def _tasks(corpus: Corpus, encoder: Encoder) -> Iterator[tuple[Bank, list[Query], int]]:
    """Each scene's bank and queries, and how many units the bank lost to the guard. Every text is embedded once."""
    by_scene: dict[tuple[str, int], list[Pair]] = defaultdict(list)
    for pair in corpus.pairs:
        by_scene[pair.role, pair.family].append(pair)
    banks = {scene: corpus.bank(*scene) for scene in track(by_scene, "cutting units", console=err)}
    keys = dict.fromkeys(piece.key for found, _ in banks.values() for piece in found)
    if not keys:
        raise typer.BadParameter(
            "every role speaks in one scene only, so there is nothing to recall for it; give the whole file.",
            param_hint="--data",
        )
    vectors = dict(zip(keys, embedded(encoder.encode_passages, list(keys), "embedding units"), strict=True))
    asked = [text for pair in corpus.pairs for text in (_key(pair), _joined(pair))]
    queries = dict(zip(asked, embedded(encoder.encode_queries, asked, "embedding queries"), strict=True))
    spoken = {key: words(key) for key in track(keys, "cutting words", console=err)}
    hashed = cache(lambda piece: line_terms(piece.key, "\n".join(turn.text for turn in piece.answer)))
    for scene, pairs in track(by_scene.items(), "recalling", console=err):
        found, left_out = banks[scene]
        if found:
            near = np.stack([vectors[piece.key] for piece in found])
            ours = _bank(near, [hashed(piece) for piece in found])
            bank = Bank(found, near, Bm25([spoken[piece.key] for piece in found]), ours)
            yield bank, [_query(pair, bank, queries) for pair in pairs], left_out


def _gain(ours: Sequence[Mapping[str, float]], theirs: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """By how much the best recalled answer is nearer to the gold reply, at each depth."""
    found = {name: gain([row[name] for row in ours], [row[name] for row in theirs]) for name in _BEST}
    return {name: f"{more:+.4f} ± {width:.4f}" for name, (more, width) in found.items()}


def _bank(vectors: Vectors, words: Sequence[Terms]) -> search.Bank:
    bank = search.Bank(vectors.shape[1])
    flat = np.zeros((len(vectors), len(EMOTIONS)), np.float32)
    bank.add(search.Records(ids=range(1, len(vectors) + 1), vectors=vectors, emotions=flat, terms=words))
    return bank


def _query(pair: Pair, bank: Bank, vectors: Mapping[str, Vectors]) -> Query:
    gold = folded(pair.gold)
    likeness = [rouge_l(folded("".join(turn.text for turn in piece.answer)), gold) for piece in bank.units]
    return Query(
        pair,
        _key(pair),
        tuple(words(_key(pair))),
        vectors[_key(pair)],
        vectors[_joined(pair)],
        np.asarray(likeness, np.float32),
    )


def _key(pair: Pair) -> str:
    return query_key(pair.context, pair.role, TALK)


def _joined(pair: Pair) -> str:
    history = "\n".join(f"{turn.speaker}：{turn.text}" for turn in pair.context)
    first = pair.context[0].speaker
    return history if first == pair.role else history.replace(first, "user0", 1)


def _measured(query: Query, bank: Bank, ranking: Sequence[int]) -> dict[str, float]:
    """The numbers of one pair; see `MEASURED`."""
    likeness = query.likeness[list(ranking[: max(DEPTHS)])]
    nearest = query.likeness.max()
    target = (*query.pair.context, Turn(query.pair.role, query.pair.gold))
    recalled = (bank.units[place] for place in ranking[: max(DEPTHS)])
    return {
        **{f"best@{k}": float(likeness[:k].max()) for k in DEPTHS},
        **{f"mean@{k}": float(likeness[:k].mean()) for k in DEPTHS[1:]},
        **{f"recall@{k}": float((likeness[:k] == nearest).any()) for k in DEPTHS},
        "leaks": sum(tells(piece, target) for piece in recalled),
    }
