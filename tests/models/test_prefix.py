import torch

from models.prefix import BLOCK, PrefixCache, block_keys


def block() -> torch.Tensor:
    return torch.zeros(1, 2, 1, BLOCK, 4)


def test_only_whole_blocks_have_keys() -> None:
    assert block_keys("", range(BLOCK - 1)) == []
    assert len(block_keys("", range(2 * BLOCK + 5))) == 2


def test_a_key_stands_for_everything_before_it() -> None:
    one, other = list(range(2 * BLOCK)), [9, *range(1, 2 * BLOCK)]
    assert block_keys("", one)[0] != block_keys("", other)[0]
    assert block_keys("", one)[1] != block_keys("", other)[1]
    assert block_keys("", one) == block_keys("", [*one, 5])


def test_owners_never_share_a_block() -> None:
    tokens = list(range(2 * BLOCK))
    assert not set(block_keys("anna", tokens)) & set(block_keys("bert", tokens))


def test_a_run_ends_at_the_first_block_that_is_missing() -> None:
    cache = PrefixCache(10 * block().nbytes)
    for key in (b"a", b"c"):
        cache.put(key, block())
    assert len(cache.run([b"a", b"b", b"c"])) == 1
    assert cache.run([b"b", b"c"]) == []


def test_the_bound_in_bytes_holds_and_the_root_of_a_used_prefix_stays_longest() -> None:
    cache = PrefixCache(3 * block().nbytes)
    for key in (b"root", b"leaf", b"other"):
        cache.put(key, block())
    cache.run([b"root", b"leaf"])
    cache.put(b"new", block())
    assert b"other" not in cache
    cache.put(b"newer", block())
    assert b"root" in cache
    assert b"leaf" not in cache
    assert cache.bytes == 3 * block().nbytes


def test_a_block_larger_than_the_bound_is_not_stored() -> None:
    cache = PrefixCache(1)
    cache.put(b"a", block())
    assert cache.bytes == 0
