"""Adapters are the server's own: admins add and take them away, characters speak with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from app.services import Services
from models.engine import ADAPTER
from models.scripted import ScriptedEngine
from tests.adapters import small_adapter

Fixture = Any
ALL = {"If-Match": "*"}


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return small_adapter(tmp_path / "adapter")


async def send(http: httpx.AsyncClient, adapter: Path, role: str = "mira", **changed: bytes) -> httpx.Response:
    names = {"config": "adapter_config.json", "weights": "adapter_model.safetensors"}
    files = {field: (name, changed.get(field, (adapter / name).read_bytes())) for field, name in names.items()}
    return await http.post("/api/adapters", params={"role": role}, files=files)


async def test_an_adapter_is_named_by_its_weights_and_kept_once(
    client: httpx.AsyncClient, adapter: Path, services: Services, tmp_path: Path
) -> None:
    added = await send(client, adapter)
    assert added.status_code == 201, added.text
    name = added.json()["name"]
    assert name.startswith("mira@")
    assert (added.json()["base"], added.json()["rank"]) == ("smollm2", 2)
    assert (await send(client, adapter)).json() == added.json()
    other = await send(client, small_adapter(tmp_path / "other", alpha=9))
    assert other.json()["name"] != name
    listed = (await client.get("/api/adapters")).json()
    assert sorted(one["name"] for one in listed) == sorted([name, other.json()["name"]])
    kept = services.settings.adapters / name
    assert sorted(file.name for file in kept.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert (await client.delete("/api/adapters", params={"adapter": name})).status_code == 204
    assert not kept.exists()
    assert (await client.delete("/api/adapters", params={"adapter": name})).status_code == 404


async def test_what_is_no_adapter_is_refused_and_nothing_is_kept(
    client: httpx.AsyncClient, adapter: Path, services: Services
) -> None:
    for wrong, reason in (
        ({"config": b"{}"}, "type None; only LoRA"),
        ({"config": b"not json"}, "adapter_config.json can't be read"),
        ({"weights": b"\0" * 9}, "adapter_model.safetensors is cut short"),
        ({"config": (adapter / "adapter_config.json").read_bytes().replace(b'"r"', b'"use_dora": true, "r"')}, "dora"),
    ):
        refused = await send(client, adapter, **wrong)
        assert (refused.status_code, refused.json()["title"]) == (422, "adapter_refused")
        assert reason in refused.json()["detail"]
        assert "/tmp" not in refused.json()["detail"]
    assert (await send(client, adapter, role="../up")).status_code == 422
    lone = await client.post("/api/adapters", params={"role": "mira"}, files={"config": b"{}"})
    assert (lone.status_code, lone.json()["detail"]) == (
        400,
        "Send the adapter's adapter_model.safetensors in the form field `weights`.",
    )
    assert (await client.post("/api/adapters", params={"role": "mira"}, content=b"{}")).status_code == 400
    assert (await client.delete("/api/adapters", params={"adapter": "../up@000000000000"})).status_code == 422
    assert not services.settings.adapters.exists() or not [*services.settings.adapters.iterdir()]


async def test_only_admins_add_list_and_remove(as_owner: Fixture, adapter: Path, mira: dict[str, Any]) -> None:
    ana, root = await as_owner("ana"), await as_owner("root", admin=True)
    name = (await send(root, adapter)).json()["name"]
    for answer in (
        await send(ana, adapter),
        await ana.get("/api/adapters"),
        await ana.delete("/api/adapters", params={"adapter": name}),
    ):
        assert answer.status_code == 403, answer.text
    # Any owner's character may speak with one.
    assert (await ana.post("/api/characters", json=mira | {"adapter": name})).status_code == 201
    busy = await root.delete("/api/adapters", params={"adapter": name})
    assert (busy.status_code, busy.json()["title"]) == (409, "adapter_in_use")


async def test_a_character_speaks_with_the_adapter_that_it_names(
    client: httpx.AsyncClient, adapter: Path, engine: ScriptedEngine, mira: dict[str, Any], talk: Fixture
) -> None:
    name = (await send(client, adapter)).json()["name"]
    strange = await client.post("/api/characters", json=mira | {"adapter": "mira@000000000000"})
    assert (strange.status_code, strange.json()["title"]) == (404, "adapter_not_found")
    assert (await client.post("/api/characters", json=mira | {"adapter": "mira"})).status_code == 422
    assert (await client.post("/api/characters", json=mira | {"adapter": name})).status_code == 201
    engine.abilities |= {ADAPTER}
    await talk("mira", "Is it mended?")
    assert engine.asked[-1].sampling.adapter == name
    fields = {key: value for key, value in mira.items() if key not in ("slug", "lore")}
    assert (await client.put("/api/characters/mira", json=fields, headers=ALL)).json()["adapter"] is None
    await talk("mira", "And now?")
    assert engine.asked[-1].sampling.adapter is None


async def test_an_engine_that_loads_no_adapters_refuses_by_name(
    client: httpx.AsyncClient, adapter: Path, mira: dict[str, Any], engine: ScriptedEngine
) -> None:
    name = (await send(client, adapter)).json()["name"]
    await client.post("/api/characters", json=mira | {"adapter": name})
    body = {"model": "char/mira", "messages": [{"role": "user", "content": "Hello."}]}
    refused = await client.post("/v1/chat/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_adapter")
    assert name in refused.json()["error"]["message"]
    assert not engine.asked
