"""Real encoders, once for all tests."""

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Waiting OpenMP threads must soon sleep: spinning ones slow the encoder down tenfold when the cores are shared.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

from retrieval.emotion import AnchorTagger
from retrieval.nano import NanoEncoder
from retrieval.sentence import SentenceEncoder
from retrieval.unpacked import NAME, unpack


@pytest.fixture(scope="session")
def nano():
    return NanoEncoder()


@pytest.fixture(scope="session")
def weights(weights_home):
    """The folder that `unpack` makes, kept between runs."""
    return unpack(weights_home / "weights" / NAME)


@pytest.fixture(scope="session")
def sentence(weights):
    return SentenceEncoder(weights)


@pytest.fixture(scope="session")
def tagger(sentence):
    return AnchorTagger(sentence)
