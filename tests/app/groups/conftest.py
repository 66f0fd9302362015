"""Members for groups, and a group of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

Group = dict[str, Any]
Form = Callable[..., Awaitable[Group]]
PEOPLE: dict[str, dict[str, Any]] = {
    "mara": {"name": "Mara", "persona": "Mara keeps the lighthouse.", "greeting": "Mind the stairs, {{user}}."},
    "bob": {
        "name": "Bob the Miller",
        "persona": "{{char}} mills flour and talks with {{group}}.",
        "system_prompt": "Beside {{notChar}}.",
    },
    "lin": {"name": "小龙", "language": "zh", "persona": "小龙是个渔夫。"},
}


@pytest.fixture
async def form(client: httpx.AsyncClient) -> Form:
    """Forms a group of these people, the first two unless others are named; makes those that aren't there."""

    async def make(*slugs: str, slug: str = "harbour", http: httpx.AsyncClient = client, **fields: Any) -> Group:
        for one in slugs or ("mara", "bob"):
            made = await http.post("/api/characters", json=PEOPLE[one] | {"slug": one})
            assert made.status_code in (201, 409), made.text
        members = fields.pop("members", [{"character": one} for one in slugs or ("mara", "bob")])
        answer = await http.post("/api/groups", json={"slug": slug, "name": "Harbour", "members": members} | fields)
        assert answer.status_code == 201, answer.text
        group: Group = answer.json()
        return group

    return make
