"""Finding things: texts to vectors, emotions, indexes, rankings.

The encoders are not imported here, so that importing this package costs no torch: take `NanoEncoder` from
`retrieval.nano`, `SentenceEncoder` from `retrieval.sentence`, `unpack` from `retrieval.unpacked`.
"""

from retrieval.bank import Bank, Query, Records
from retrieval.cache import Append, BankCache, Entry, Fresh, Plan, Rebuild, Stamp
from retrieval.calibrated import Calibration, Weights
from retrieval.candidate import Candidate, Ranked
from retrieval.emotion import EMOTIONS, AnchorTagger, EmotionTagger, blend, cosine_distance, dominant
from retrieval.encoder import Encoder, Vectors
from retrieval.index import Hit, Index
from retrieval.leak import folded, leaks, shows
from retrieval.pack import pack
from retrieval.rank import Strategy, rank
from retrieval.retention import retention
from retrieval.units import Turn, Unit, query_key, telling, unit, units

__all__ = [
    "EMOTIONS",
    "AnchorTagger",
    "Append",
    "Bank",
    "BankCache",
    "Calibration",
    "Candidate",
    "EmotionTagger",
    "Encoder",
    "Entry",
    "Fresh",
    "Hit",
    "Index",
    "Plan",
    "Query",
    "Ranked",
    "Rebuild",
    "Records",
    "Stamp",
    "Strategy",
    "Turn",
    "Unit",
    "Vectors",
    "Weights",
    "blend",
    "cosine_distance",
    "dominant",
    "folded",
    "leaks",
    "pack",
    "query_key",
    "rank",
    "retention",
    "shows",
    "telling",
    "unit",
    "units",
]
