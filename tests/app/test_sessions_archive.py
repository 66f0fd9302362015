"""Files of conversations, read without a database."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sessions.archive import LEVELS, Archive, ArchiveError, Told, read, write
from app.sessions.sillytavern import read as read_sillytavern
from app.sessions.sillytavern import write as write_sillytavern

HEAD = '{"moodline": "session", "version": 1}'


def test_a_branch_of_a_file_has_an_end() -> None:
    lines = (
        {"id": str(n), "parent": str(n - 1) if n else None, "role": "user", "text": "Hi."} for n in range(LEVELS + 1)
    )
    with pytest.raises(ArchiveError, match=f"Line {LEVELS + 2}: the branch is longer"):
        read([HEAD, *map(json.dumps, lines)], 100)


@given(st.text(max_size=200))
def test_no_text_breaks_a_reader(text: str) -> None:
    for reader in (read, read_sillytavern):
        for content in (text, HEAD + "\n" + text, '{"mes": "Hi."}\n' + text):
            try:
                archive = reader(content.split("\n"), 100)
            except ArchiveError:
                continue
            assert isinstance(archive, Archive)
            assert "".join(write(archive))


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@given(st.lists(st.tuples(words, moments, st.integers(0)), max_size=12), words, moments)
def test_what_is_written_is_read_again(rows: list[tuple[str, datetime, int]], note: str, moment: datetime) -> None:
    told: list[Told] = []
    for number, (text, created, above) in enumerate(rows):
        parent = told[above % len(told)].key if told else None
        role = "user" if above % 2 else "assistant"
        told.append(Told(str(number), parent, role, text, created, "Sam", "failed", parent, (0.25,) * 8, created))
    leaf = told[-1].key if told else None
    archive = Archive(tuple(told), leaf, "mira", "ana", "T", note[:100], 2, True, moment, moment)
    lines = "".join(write(archive)).split("\n")
    assert read(lines, 10_000) == archive


@given(st.lists(st.tuples(words, st.booleans()), min_size=1, max_size=12))
def test_sillytavern_reads_what_we_write_for_it_and_so_do_we(rows: list[tuple[str, bool]]) -> None:
    told: list[Told] = []
    for number, (text, is_user) in enumerate(rows):
        parent = told[-1].key if told else None
        told.append(
            Told(str(number), parent, "user" if is_user else "assistant", text, datetime(2026, 1, 2, tzinfo=UTC))
        )
    lines = "".join(write_sillytavern(Archive(tuple(told), told[-1].key), ("", ""))).split("\n")
    again = read_sillytavern(lines, 10_000)
    assert [(one.role, one.text, one.created_at) for one in again.messages] == [
        (one.role, one.text, one.created_at) for one in told
    ]


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("2024-1-5 @14h 2m 3s 45ms", "2024-01-05T14:02:03.045000+00:00"),
        ("2024-01-05@14h02m03s", "2024-01-05T14:02:03+00:00"),
        ("January 5, 2024 2:02pm", "2024-01-05T14:02:00+00:00"),
        ("2024-01-05T14:02:03.045Z", "2024-01-05T14:02:03.045000+00:00"),
        ("2024-01-05T15:02:03+01:00", "2024-01-05T15:02:03+01:00"),
        (1704463323045, "2024-01-05T14:02:03.045000+00:00"),
        (1704463323, "2024-01-05T14:02:03+00:00"),
        ("2024-13-45 @14h 2m 3s", None),
        ("yesterday", None),
        (1e300, None),
        (None, None),
        ({}, None),
    ],
)
def test_dates_are_read_in_every_form_that_sillytavern_has_written(written: object, read_as: str | None) -> None:
    archive = read_sillytavern([json.dumps({"mes": "Hi.", "send_date": written})], 10)
    moment = archive.messages[0].created_at
    assert (moment.isoformat() if moment else None) == read_as
