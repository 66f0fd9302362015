"""Bodies of the bond routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from app.body import Body
from app.bond.affinity import Standing
from app.characters.schemas import Deltas, Name, Points
from app.tables import Floats
from app.text import STORABLE
from retrieval.emotion import EMOTIONS

Note = Annotated[str, StringConstraints(max_length=2_000), STORABLE]
Id = Annotated[str, StringConstraints(max_length=32), STORABLE]
Said = Annotated[str, StringConstraints(min_length=1, max_length=60_000), STORABLE]
Emotion = Literal["joy", "acceptance", "fear", "surprise", "sadness", "disgust", "anger", "anticipation"]


class StandingOut(BaseModel):
    """Affinity is 0..100; mood holds intensities, 0..1, of the eight dimensions; `turns` are exchanges."""

    affinity: float
    stage: str
    variables: dict[str, float]
    mood: dict[str, float]
    turns: int


class BondOut(StandingOut):
    """How a user and a character stand."""

    character: str
    user: str


class BondPage(BaseModel):
    """One page of bonds; pass `next` as `before` for the one that follows."""

    items: list[BondOut]
    next: int | None


class BondChange(Body):
    """Numbers to set. A stage is set by the affinity at which it begins; `note` says why.

    With `message_id` it counts as long as that message is on a current branch, without it always.
    """

    affinity: float | None = Field(default=None, ge=0, le=100)
    stage: Name | None = None
    variables: Deltas = Field(default={})
    note: Note = ""
    message_id: Id | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.affinity is None and self.stage is None and not self.variables:
            raise ValueError("name what to set: `affinity`, `stage` or `variables`")
        if self.affinity is not None and self.stage is not None:
            raise ValueError("a stage is set by its affinity: give one of the two")
        return self


class EventIn(Body):
    """Something that happened: an event that the character's `bond.events` name, or what it adds by itself.

    With `message_id` it counts as long as that message is on a current branch, without it always.
    """

    name: Name
    changes: Deltas | None = None
    note: Note = ""
    message_id: Id | None = None


class EventOut(BaseModel):
    """What happened: an `event` added `numbers`, a `set` put them in place."""

    id: int
    kind: str
    name: str
    numbers: dict[str, float]
    note: str
    message_id: str | None
    created_at: datetime


class Recorded(BaseModel):
    """What was recorded, and how the two stand after it."""

    event: EventOut
    bond: BondOut


class HistoryStep(StandingOut):
    """What moved the bond, and how the two stood after it: an exchange (`said`), an `event` or a `set`."""

    at: datetime
    kind: str
    name: str = ""
    message_id: str | None = None
    event_id: int | None = None


class History(BaseModel):
    """The newest steps, oldest first; `total` is how many there are."""

    items: list[HistoryStep]
    total: int


class SimulatedStep(Body):
    """One of: what the user says, what that feels like (intensities 0..1), an event, what it adds, what is set."""

    said: Said | None = None
    feeling: dict[Emotion, Annotated[float, Field(ge=0, le=1)]] | None = None
    event: Name | None = None
    changes: Deltas | None = None
    put: dict[Name, Points] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(value is not None for value in (self.said, self.feeling, self.event, self.changes, self.put)) != 1:
            raise ValueError("a step has one of `said`, `feeling`, `event`, `changes` and `put`")
        return self


class Simulation(Body):
    """Steps to try out, from how the two stand `now` or from `strangers`. Nothing is stored."""

    steps: list[SimulatedStep] = Field(min_length=1, max_length=500)
    begin: Literal["now", "strangers"] = "now"


class Simulated(BaseModel):
    """How the two would stand before the steps and after each."""

    before: StandingOut
    after: list[StandingOut]


def show(standing: Standing) -> StandingOut:
    """A standing as it is told."""
    return StandingOut(
        affinity=round(standing.affinity, 2),
        stage=standing.stage,
        variables={name: round(value, 4) for name, value in standing.variables.items()},
        mood=named(standing.mood),
        turns=standing.turns,
    )


def named(mood: Floats) -> dict[str, float]:
    """A mood by the names of its dimensions."""
    return {name: round(float(value), 3) for name, value in zip(EMOTIONS, mood, strict=True)}
