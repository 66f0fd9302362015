"""Bodies of the character routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.body import WHOLE, Body
from app.lore.entry import DEPTH, CardField, Position, Role, Trigger
from app.settings import Strategy
from app.text import STORABLE, JsonObject
from models.scene import Language
from models.stored import NAME_PATTERN

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,78}[a-z0-9])?$")]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), STORABLE]
Prose = Annotated[str, StringConstraints(max_length=60_000), STORABLE]
Points = Annotated[float, Field(ge=-1e9, le=1e9)]
AdapterName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Key = Annotated[str, StringConstraints(max_length=500), STORABLE]


class Stage(Body):
    """How the character is towards a user whose affinity (0..100) has reached `affinity`."""

    name: Name
    affinity: float = Field(ge=0, le=100)
    persona: Prose = ""
    style: Prose = ""
    greeting: Prose = ""
    strategy: Strategy | None = None


class Variable(Body):
    """A number of the bond beside affinity."""

    start: Points = 0.0
    least: Points = 0.0
    most: Points = 100.0

    @model_validator(mode="after")
    def _start_is_within(self) -> Self:
        if not self.least <= self.start <= self.most:
            raise ValueError("`start` must lie between `least` and `most`")
        return self


Cause = Literal["turn", "joy", "acceptance", "fear", "surprise", "sadness", "disgust", "anger", "anticipation"]
Deltas = Annotated[dict[Name, Points], Field(max_length=50)]


class BondRules(Body):
    """What moves the bond between this character and a user.

    `feelings` has points for every exchange (`turn`) and for each emotion in what the user said, `events` for what an
    app tells of. With `judged` the language model judges each exchange after it and adds at most so many points to each
    number. A stage once reached is left `hysteresis` below its affinity; `inertia` is the share of the mood that
    stays from one exchange to the next.
    """

    start: float = Field(default=0.0, ge=0, le=100)
    hysteresis: float = Field(default=5.0, ge=0, le=100)
    inertia: float = Field(default=0.6, ge=0, le=1)
    variables: dict[Name, Variable] = Field(default={}, max_length=50)
    feelings: dict[Cause, Deltas] = Field(default={})
    events: dict[Name, Deltas] = Field(default={}, max_length=200)
    judged: Annotated[int, Field(ge=1, le=100), WHOLE] | None = None

    @model_validator(mode="after")
    def _numbers_are_known(self) -> Self:
        if "affinity" in self.variables:
            raise ValueError("`affinity` is there already and runs from 0 to 100; name the variable otherwise")
        known = {"affinity", *self.variables}
        for cause, deltas in [*self.feelings.items(), *self.events.items()]:
            if strange := sorted(set(deltas) - known):
                raise ValueError(f"{cause!r} moves {strange[0]!r}, which is neither `affinity` nor one of `variables`")
        return self


class OnlyFor(Body):
    """Slugs and tags of the characters that an entry is for; with `exclude`, of those that it is not for."""

    exclude: bool = False
    names: list[Key] = Field(default=[], max_length=200)
    tags: list[Key] = Field(default=[], max_length=200)


Messages = Annotated[int, Field(ge=0, le=10**9), WHOLE]


class LoreEntryIn(Body):
    """World info: `content` is told to the language model when one of `keys` was said, or always if `constant`.

    `order` places it (larger is nearer the end), `priority` decides who keeps its place in a short budget. `sticky`,
    `cooldown` and `delay` are messages; `probability` is per cent. See `docs/lore.md`.
    """

    name: Annotated[str, StringConstraints(max_length=200), STORABLE] = ""
    keys: list[Key] = Field(default=[], max_length=200)
    secondary_keys: list[Key] = Field(default=[], max_length=200)
    logic: Literal["and_any", "not_all", "not_any", "and_all"] = "and_any"
    content: Annotated[str, StringConstraints(max_length=20_000), STORABLE]
    constant: bool = False
    enabled: bool = True
    selective: bool = Field(default=True, description="Whether secondary keys are looked at.")
    order: Annotated[int, Field(ge=-(10**9), le=10**9), WHOLE] = 100
    priority: Annotated[int, Field(ge=-(10**9), le=10**9), WHOLE] | None = None
    position: Position = "after"
    depth: Annotated[int, Field(ge=0, le=10_000), WHOLE] | None = DEPTH
    role: Role = "system"
    outlet: Annotated[str, StringConstraints(max_length=200), STORABLE] = ""
    scan_depth: Annotated[int, Field(ge=0, le=1000), WHOLE] | None = None
    case_sensitive: bool | None = None
    whole_words: bool | None = None
    ignore_budget: bool = False
    probability: Annotated[float, Field(ge=0, le=100)] = 100
    group: Annotated[str, StringConstraints(max_length=500), STORABLE] = ""
    group_override: bool = False
    group_weight: Annotated[float, Field(ge=0, le=10**6)] = 100
    group_scoring: bool | None = None
    exclude_recursion: bool = False
    prevent_recursion: bool = False
    delay_until_recursion: Annotated[int, Field(ge=0, le=1000), WHOLE] = 0
    sticky: Messages = 0
    cooldown: Messages = 0
    delay: Messages = 0
    match: list[CardField] = Field(default=[], max_length=6)
    triggers: list[Trigger] = Field(default=[], max_length=6)
    vectorized: bool = False
    only_for: OnlyFor | None = None
    stages: list[Name] | None = Field(
        default=None,
        max_length=20,
        description="Names of the bond's stages that it speaks at; empty: all of them. Unset: all, unless its keys are "
        "ranges of affinity (`docs/bonds.md`).",
    )
    extra: JsonObject = Field(default={}, description="What only other programs know; it is kept and given back.")


class LoreSettings(Body):
    """How a lorebook is read: how many messages keys are looked for in, and whether what speaks calls other entries.

    `min_activations` reads further back, at most `max_depth` messages (0: all), until so many entries speak.
    """

    scan_depth: Annotated[int, Field(ge=0, le=1000), WHOLE] = 4
    case_sensitive: bool = False
    whole_words: bool = False
    recursive: bool = False
    group_scoring: bool = False
    min_activations: Annotated[int, Field(ge=0, le=1000), WHOLE] = 0
    max_depth: Annotated[int, Field(ge=0, le=1000), WHOLE] = 0


class DepthPrompt(Body):
    """A text told `depth` messages before the end of the talk, if the session has no author's note of its own."""

    prompt: Prose
    depth: Annotated[int, Field(ge=0, le=1000), WHOLE] = 4
    role: Literal["system", "user", "assistant"] = "system"


class CharacterFields(Body):
    """What a character is.

    `nickname` takes the place of `name` for `{{char}}` and in the prompt. `mes_example` are talks divided by `<START>`.
    `system_prompt` takes the place of our rules and `post_history_instructions` of our last sentence; `{{original}}` is
    what they replace. `creator_notes`, `creator`, `character_version` and `tags` never reach the prompt.
    """

    name: Name
    nickname: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100), STORABLE] = ""
    language: Language = "en"
    persona: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60_000), STORABLE]
    personality: Prose = ""
    style: Prose = ""
    scenario: Prose = ""
    greeting: Prose = ""
    alternate_greetings: list[Prose] = Field(default=[], max_length=200)
    mes_example: Prose = ""
    system_prompt: Prose = ""
    post_history_instructions: Prose = ""
    depth_prompt: DepthPrompt | None = None
    stages: list[Stage] = Field(default=[], max_length=20)
    bond: BondRules = BondRules()
    lore_settings: LoreSettings = LoreSettings()
    tags: list[Name] = Field(default=[], max_length=500)
    creator: Annotated[str, StringConstraints(max_length=500), STORABLE] = ""
    character_version: Annotated[str, StringConstraints(max_length=500), STORABLE] = ""
    creator_notes: Annotated[str, StringConstraints(max_length=200_000), STORABLE] = ""
    strategy: Strategy | None = None
    recall_lines: Annotated[int, Field(ge=0, le=50), WHOLE] | None = None
    adapter: AdapterName | None = Field(
        None, description="The LoRA adapter that it speaks with, `role@fingerprint` as GET /api/adapters lists it."
    )

    @property
    def called(self) -> str:
        """The name that the character goes by when it speaks."""
        return self.nickname or self.name

    def stage_named(self, name: str) -> Stage | None:
        """The stage of this name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    @model_validator(mode="after")
    def _stages_differ(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError("two stages have the same name")
        if len({stage.affinity for stage in self.stages}) != len(self.stages):
            raise ValueError("two stages begin at the same affinity")
        return self


class CharacterCreate(CharacterFields):
    """A new character. `shared` ones can be talked with by everyone on this server and need an admin key."""

    slug: Slug
    shared: bool = False
    lore: list[LoreEntryIn] = Field(default=[], max_length=5_000)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "slug": "harbour-cat",
                    "name": "Captain Whiskers",
                    "language": "en",
                    "persona": "An old ship's cat who has seen every port and trusts no dog.",
                    "style": "Short sentences. Nautical. Sniffs before answering.",
                    "greeting": "You smell of rain. Sit, then.",
                    "stages": [
                        {"name": "stranger", "affinity": 0, "persona": "Keeps a tail's length away."},
                        {"name": "crew", "affinity": 50, "persona": "Shares the warm spot by the stove."},
                    ],
                    "bond": {
                        "variables": {"trust": {"start": 10}},
                        "feelings": {"anger": {"affinity": -5, "trust": -2}},
                        "events": {"brought a fish": {"affinity": 8, "trust": 1}},
                    },
                    "lore": [{"keys": ["mackerel"], "content": "Mackerel is forbidden in the galley since the fire."}],
                }
            ]
        },
    )


class CharacterOut(CharacterFields):
    """A character as it is now. `revision` is its ETag."""

    model_config = ConfigDict(extra="ignore")

    slug: str
    shared: bool
    revision: int
    lines: int = Field(description="Units of past dialogue that can be recalled or wait to be embedded.")
    lore_entries: int
    created_at: datetime
    updated_at: datetime


class CharacterPage(BaseModel):
    """One page of characters; pass `next` as `after` for the one that follows."""

    items: list[CharacterOut]
    next: str | None
