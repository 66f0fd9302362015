"""JavaScript's regular expressions in RE2's spelling: what they match, what is none, what RE2 can't run."""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from app.lore.javascript import Beyond, Invalid, respell


def found(source: str, flags: str, text: str) -> bool:
    options = re2.Options()
    options.case_sensitive = "i" not in flags
    return re2.compile(respell(source, flags), options).search(text) is not None


@pytest.mark.parametrize(
    ("source", "flags", "text", "wanted"),
    [
        ("drag(on|oon)s?", "", "two dragoons", True),
        ("Dragon", "", "a dragon", False),
        ("Dragon", "i", "a dragon", True),
        ("^tower", "m", "see\ntower", True),
        ("^tower", "", "see\ntower", False),
        ("tower$", "", "tower\n", False),
        ("a.b", "", "a\nb", False),
        ("a.b", "", "a\u2028b", False),
        ("a.b", "s", "a\nb", True),
        ("dragon", "y", "a dragon", False),
        (r"[\u4e00-\u9fa5]{2}塔", "", "有白色塔", True),
        (r"\u{1F409}", "u", "a 🐉", True),
        (r"\u{1F409}", "", "u{1F409}", True),
        (r"\ud83d\udc09", "", "a 🐉", True),
        (r"\p{Script=Han}{2}", "u", "just 白龙", True),
        (r"\p{L}", "", "p{L}", True),
        (r"白\s塔", "", "白\u3000塔", True),
        (r"白\S塔", "", "白\u3000塔", False),
        (r"a[\s,]b", "", "a\u3000b", True),
        (r"a[^\S]b", "", "a\u3000b", True),
        ("a[^]b", "", "a\nb", True),
        ("a[]b", "", "ab", False),
        ("[[:alpha:]]", "", ":]", True),
        ("s{,3}", "", "s{,3}", True),
        ("{", "", "a {", True),
        ("]", "", "a ]", True),
        (r"\101\8", "", "A8", True),
        (r"\cA", "", "\x01", True),
        (r"\h\A\Z", "", "hAZ", True),
        (r"[\b]", "", "\b", True),
        (r"[a-\d]", "", "-", True),
        (r"\u212A", "i", "k", False),
        (r"(?<q>a)b", "", "ab", True),
        ("a.+?z", "", "白塔az a--z", True),
    ],
)
def test_an_expression_matches_what_javascript_matches(source: str, flags: str, text: str, wanted: bool) -> None:
    assert found(source, flags, text) is wanted


@pytest.mark.parametrize(
    ("source", "flags", "text", "wanted"),
    [
        ("tower(?= of)", "", "a tower of", True),
        ("tower(?= of)", "", "a tower", False),
        ("cat(?!alog)", "i", "CATALOG", False),
        ("cat(?!alog)", "i", "a catalogue, a Catalan", True),
        ("cat(?!alog)", "", "cat", True),
        ("cats?(?!s)", "", "cats", True),
        ("star(?![a-z])", "", "starlit", False),
        (r"star(?!\w)", "", "star!", True),
        ("(?<=the )star", "", "the star", True),
        ("(?<!the )star", "i", "see The Star", False),
        ("(?<!the )star", "i", "he star", True),
        ("(?<!the )star", "", "star", True),
        (r"(?<!\.)x(?!\))", "", ".x x)", False),
        ("龙女(?!s)", "", "龙女", True),
        ("(?<!白)龙(?!王)", "", "白龙 龙王 龙", True),
        ("(?<!白)龙(?!王)", "", "白龙 龙王", False),
    ],
)
def test_a_look_at_an_end_is_read_or_spelled_out(source: str, flags: str, text: str, wanted: bool) -> None:
    assert found(source, flags, text) is wanted


@given(st.text("abc", max_size=8), st.text("abc", min_size=1, max_size=3), st.booleans())
def test_what_must_not_stand_at_an_end_is_what_python_thinks(text: str, look: str, behind: bool) -> None:
    source = f"(?<!{look})a" if behind else f"a(?!{look})"
    assert found(source, "", text) is (re.search(source, text) is not None)


@pytest.mark.parametrize(
    ("source", "flags"),
    [
        *(("(", ""), (")", ""), ("[a", ""), ("*x", ""), ("a++", ""), ("^*", ""), ("x(?>y)", ""), ("(?P<n>x)", "")),
        *(("(?i)x", ""), ("a{2,1}", ""), ("[z-a]", ""), ("a\\", ""), ("x", "gg"), ("{", "u"), (r"\-", "u")),
        *(("(?<a>x)(?<a>y)", ""), (r"\p{", "u"), (r"\k<b>", "u"), ("(?=a)(", "")),
    ],
)
def test_what_javascript_refuses_is_no_expression(source: str, flags: str) -> None:
    with pytest.raises(Invalid):
        respell(source, flags)


@pytest.mark.parametrize(
    "source",
    [
        *("a(?= of)b", "(?=a)(?=b)(c)", "a|b(?=c)", "a(?!b+)", "a(?!b|c)", "(?!x)y", "a(?<!b)c"),
        *(r"(.)\1(x)", r"(\w)\1", r"(?<c>a)\k<c>", "🐉{2}", "[🐉]", r"\ud83d"),
    ],
)
def test_what_re2_can_not_run_is_told_apart(source: str) -> None:
    with pytest.raises(Beyond):
        respell(source, "")
