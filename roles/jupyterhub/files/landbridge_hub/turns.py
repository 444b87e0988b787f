"""Starts that wait for their turn: fifty at once would all be slower than anybody waits."""

import asyncio
import os
from contextlib import asynccontextmanager

# While a server imports what it is made of it needs a whole processor, and the disk in between.
FOR_EACH_PROCESSOR = 2


class TooManyError(Exception):
    """A start whose turn did not come in time."""


class Turns:
    """So many at once, the others in the order in which they came, for so many seconds at most."""

    def __init__(self, at_once, seconds):
        self.seconds = seconds
        self.free = asyncio.Semaphore(at_once or FOR_EACH_PROCESSOR * len(os.sched_getaffinity(0)))
        self.waiting = []

    @asynccontextmanager
    async def turn(self, who):
        """Wait for a turn and have it; `who` tells one who waits from the others.

        Raises:
            TooManyError: it did not come in time.
        """
        self.waiting.append(who)
        try:
            await asyncio.wait_for(self.free.acquire(), self.seconds)
        except TimeoutError as late:
            raise TooManyError("Too many servers start now. Try again later.") from late
        finally:
            self.waiting.remove(who)
        try:
            yield
        finally:
            self.free.release()

    def before(self, who):
        """How many have their turn before one who waits; None of one who does not."""
        return self.waiting.index(who) if who in self.waiting else None
