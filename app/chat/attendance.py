"""What the client's going means for a turn."""

from __future__ import annotations

from app.chat.running import Leave
from app.services import Services
from app.settings import OnDisconnect


def leave_of(services: Services, policy: OnDisconnect | None, *, stateful: bool, keyed: bool) -> Leave:
    """What the client's going means: what it chose, else finish what goes on in a session that it named.

    A call that names itself by a key is kept going by `app.idempotency`: when that leaves, there is no more waiting.
    """
    chosen = policy or ("finish" if stateful else "abort")
    return Leave("abort" if keyed else chosen, services.settings.finish_seconds)
