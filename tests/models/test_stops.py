import itertools

from hypothesis import given
from hypothesis import strategies as st

from models.stops import StopFilter

TEXT = st.text(alphabet="ab用户：\n", max_size=30)
STOPS = st.lists(st.text(alphabet="ab用户：\n", min_size=1, max_size=4), max_size=4)


def through(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stop_filter = StopFilter(stops)
    text = "".join(stop_filter.push(piece) for piece in pieces)
    return text + stop_filter.flush(), stop_filter.stopped


def cut_at(text: str, places: list[int]) -> list[str]:
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


@given(TEXT, STOPS, st.lists(st.integers(0, 40), max_size=6))
def test_where_the_text_is_cut_does_not_depend_on_the_pieces(text: str, stops: list[str], places: list[int]) -> None:
    assert through(cut_at(text, places), stops) == through(list(text), stops)


@given(TEXT, STOPS)
def test_no_stop_string_gets_through_and_nothing_else_is_lost(text: str, stops: list[str]) -> None:
    said, stopped = through(list(text), stops)
    assert not any(stop in said for stop in stops)
    assert stopped == any(stop in text for stop in stops)
    assert text.startswith(said)
    if not stopped:
        assert said == text


def test_a_reply_stops_before_the_users_name_split_over_pieces() -> None:
    assert through(["好的。", "\n用", "户", "：你"], ["\n用户："]) == ("好的。", True)


def test_only_a_possible_beginning_of_a_stop_string_is_held_back() -> None:
    stop_filter = StopFilter(["\nUser:"])
    assert stop_filter.push("Aye.\nU") == "Aye."
    assert stop_filter.push("p anchor") == "\nUp anchor"


def test_of_two_stop_strings_the_first_complete_one_wins() -> None:
    assert through(["xabcd"], ["abcd", "b"]) == ("xa", True)


def test_of_two_stop_strings_that_end_together_the_longer_one_wins() -> None:
    assert through(["x\n\nUser"], ["User", "\n\nUser"]) == ("x", True)


def test_without_stop_strings_nothing_is_held_back() -> None:
    assert StopFilter(["", ""]).push("all of it") == "all of it"


def test_after_a_stop_nothing_more_comes() -> None:
    stop_filter = StopFilter(["#"])
    assert stop_filter.push("a#b") == "a"
    assert stop_filter.push("c") == ""
    assert stop_filter.flush() == ""
