"""Who may speak with the language model now, and who waits: a bounded number of both, fair between people.

Bookkeeping without a lock or a task of its own: every change is one synchronous step, so no place can be lost or given
twice between two of them, whenever a request is cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from typing import Literal

from app.errors import Unavailable
from app.metrics import QUEUE, REFUSED

State = Literal["waiting", "speaking", "pushed out", "left"]


class Ticket:
    """A request's place, from `Admission.ask` until it leaves. `waited` is how long it was in the queue, in seconds."""

    def __init__(self, owner: str, user: str, size: int) -> None:
        self.owner, self.user, self.size = owner, user, size
        self.state: State = "waiting"
        self.called = asyncio.Event()
        self.waited = 0.0
        self._asked = time.perf_counter()

    def call(self, state: State) -> None:
        """Only for `Admission`: it waits no more."""
        self.state = state
        self.waited = time.perf_counter() - self._asked
        self.called.set()


class Admission:
    """At most `speaking` replies at once and `waiting` requests in the queue.

    Whose turn it is goes round: one request of every owner, and within an owner one of every user, so a hundred
    requests of one wait behind the single one of another. Nobody overtakes: a request for many replies is not starved
    by small ones. When the queue is full, whoever has most in it gives up the newest of them to whoever has less; only
    who would have most is refused.
    """

    def __init__(self, speaking: int, waiting: int) -> None:
        self.most_speaking, self.most_waiting = speaking, waiting
        self.speaking = 0
        self.waiting = 0
        self._queue: OrderedDict[str, OrderedDict[str, deque[Ticket]]] = OrderedDict()

    def ask(self, owner: str, user: str, size: int = 1) -> Ticket:
        """A ticket for `size` replies that may speak or waits; raises `Unavailable` when there is no room for it."""
        ticket = Ticket(owner, user, min(size, self.most_speaking))
        # The queue's bound does not count against who needn't wait.
        if self.waiting or not self._fits(ticket):
            if self.waiting >= self.most_waiting:
                self._make_room(owner, user)
            self._queue.setdefault(owner, OrderedDict()).setdefault(user, deque()).append(ticket)
            self.waiting += 1
        else:
            self._let_speak(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give a place back, in the queue or at the engine; a second time does nothing."""
        before, ticket.state = ticket.state, "left"
        if before == "waiting":
            self._remove(ticket)
        elif before == "speaking":
            self.speaking -= ticket.size
        while self.waiting and self._fits(ticket := self._next()):
            self._remove(ticket)
            self._to_the_end(ticket)
            self._let_speak(ticket)

    def _fits(self, ticket: Ticket) -> bool:
        return self.speaking + ticket.size <= self.most_speaking

    def _let_speak(self, ticket: Ticket) -> None:
        self.speaking += ticket.size
        ticket.call("speaking")
        QUEUE.observe(ticket.waited)

    def _next(self) -> Ticket:
        """Whose turn it is; it stays in the queue."""
        users = next(iter(self._queue.values()))
        return next(iter(users.values()))[0]

    def _to_the_end(self, ticket: Ticket) -> None:
        """Its owner and its user have had their turn."""
        if users := self._queue.get(ticket.owner):
            self._queue.move_to_end(ticket.owner)
            if ticket.user in users:
                users.move_to_end(ticket.user)

    def _make_room(self, owner: str, user: str) -> None:
        """Push out the newest request of whoever has most in the queue; `Unavailable` if that is who asks."""
        REFUSED.labels("busy").inc()
        counts = {name: sum(map(len, users.values())) for name, users in self._queue.items()}
        most = max(counts, key=counts.__getitem__, default=owner)
        if counts.get(most, 0) <= counts.get(owner, 0) + 1:
            most = owner
        users = self._queue.get(most, OrderedDict[str, deque[Ticket]]())
        heaviest = max(users, key=lambda name: len(users[name]), default=user)
        # Within one owner the same between users; a trade of one place for another would help nobody.
        if most == owner and len(users.get(heaviest, ())) <= len(users.get(user, ())) + 1:
            raise busy()
        pushed = users[heaviest][-1]
        self._remove(pushed)
        pushed.call("pushed out")

    def _remove(self, ticket: Ticket) -> None:
        users = self._queue[ticket.owner]
        users[ticket.user].remove(ticket)
        if not users[ticket.user]:
            del users[ticket.user]
        if not users:
            del self._queue[ticket.owner]
        self.waiting -= 1


def busy() -> Unavailable:
    """What whoever finds the queue full is told."""
    return Unavailable("Too many are waiting for the language model; try again in a few seconds.", code="queue_full")
