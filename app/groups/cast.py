"""Who is in a group, as a turn knows it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from app.groups.order import Order, Voice


@dataclass(frozen=True, slots=True)
class Cast:
    """A group and its members in their order; `slugs` are theirs by id. `speaker` is the id of the one who speaks."""

    id: str
    slug: str
    name: str
    scenario: str
    order: Order
    again: bool
    voices: tuple[Voice, ...]
    slugs: dict[str, str]
    speaker: str = ""

    @property
    def present(self) -> list[str]:
        """The ids of those who hear what is said now, in the order of the list; who is muted hears as well."""
        return [voice.id for voice in self.voices]

    @property
    def others(self) -> tuple[str, ...]:
        """The names of those who are there beside the speaker."""
        return tuple(voice.name for voice in self.voices if voice.id != self.speaker)

    def name_of(self, member_id: str) -> str:
        """What a member goes by; the group's name for one that is not in it any more, or for nobody known."""
        return next((voice.name for voice in self.voices if voice.id == member_id), self.name)
