"""JavaScript's regular expressions in RE2's spelling: what they match, what is none, what RE2 can't run."""

from __future__ import annotations

import pytest
import re2

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
        "tower(?= of)",
        "(?!x)y",
        "(?<!the )star",
        "(?<=the )star",
        r"(\w)\1",
        r"(?<c>a)\k<c>",
        "🐉{2}",
        "[🐉]",
        r"\ud83d",
    ],
)
def test_what_re2_can_not_run_is_told_apart(source: str) -> None:
    with pytest.raises(Beyond):
        respell(source, "")
