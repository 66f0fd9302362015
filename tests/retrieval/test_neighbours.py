"""Who was said before and after whom."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.neighbours import Neighbours, smoothed


def links(neighbours):
    """For each id the ids before and after it; 0 for none."""
    ids = [*neighbours.ids.tolist(), 0]
    beside = zip(neighbours.before.tolist(), neighbours.after.tolist(), strict=True)
    return {ids[n]: (ids[before], ids[after]) for n, (before, after) in enumerate(beside)}


def test_rows_are_linked_both_ways_and_the_newest_branch_is_what_follows():
    neighbours = Neighbours()
    neighbours.add([1, 2, 3, 4], [0, 1, 1, 9])
    assert links(neighbours) == {1: (0, 3), 2: (1, 0), 3: (1, 0), 4: (0, 0)}
    assert neighbours.newest == 4


@given(st.permutations(range(1, 9)), st.data())
def test_links_do_not_depend_on_the_order_in_which_rows_come(order, data):
    previous = {name: data.draw(st.integers(0, name - 1)) for name in range(1, 9)}
    at_once, late = Neighbours(), Neighbours()
    at_once.add(range(1, 9), [previous[name] for name in range(1, 9)])
    for name in order:
        late.add([name], [previous[name]])
    assert links(late) == links(at_once)


def test_a_row_counts_twice_as_much_as_those_beside_it_and_nobody_counts_nothing():
    nan = float("nan")
    own, before, after = np.array([1.0, 1.0, 1.0]), np.array([0.0, nan, nan]), np.array([0.0, 0.0, nan])
    np.testing.assert_allclose(smoothed(own, before, after), [0.5, 2 / 3, 1.0])
