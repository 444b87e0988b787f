"""The hub's queue of starts."""

import asyncio
import importlib.util
from types import ModuleType

import pytest

from tests.unit.roles.modules import ROLES


@pytest.fixture(scope="module")
def turns() -> ModuleType:
    file = ROLES / "jupyterhub/files/landbridge_hub/turns.py"
    spec = importlib.util.spec_from_file_location("hub_turns", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_so_many_at_once_and_in_order(turns: ModuleType) -> None:
    async def story() -> tuple[int, list[int]]:
        queue, running, most, order = turns.Turns(2, 60), 0, 0, []

        async def start(number: int) -> None:
            nonlocal running, most
            async with queue.turn(number):
                running += 1
                most = max(most, running)
                order.append(number)
                await asyncio.sleep(0)
                running -= 1

        await asyncio.gather(*map(start, range(7)))
        return most, order

    assert asyncio.run(story()) == (2, list(range(7)))


def test_who_waits_is_told_how_many_come_before(turns: ModuleType) -> None:
    async def story() -> list[int | None]:
        queue = turns.Turns(1, 60)

        async def start(who: str) -> None:
            async with queue.turn(who):
                pass

        async with queue.turn("alice"):
            others = [asyncio.create_task(start(who)) for who in ("bob", "carol")]
            await asyncio.sleep(0)
            told = [queue.before(who) for who in ("alice", "bob", "carol")]
        await asyncio.gather(*others)
        return told

    assert asyncio.run(story()) == [None, 0, 1]


def test_a_turn_that_does_not_come_leaves_the_queue_as_it_was(turns: ModuleType) -> None:
    async def story() -> list[object]:
        queue = turns.Turns(1, 0.01)
        async with queue.turn("alice"):
            with pytest.raises(turns.TooManyError, match="Try again later"):
                async with queue.turn("bob"):
                    pass
        async with queue.turn("carol"):
            return list(queue.waiting)

    assert asyncio.run(story()) == []


def test_a_start_that_fails_gives_its_turn_back(turns: ModuleType) -> None:
    async def story() -> None:
        queue = turns.Turns(1, 1)
        with pytest.raises(OSError):
            async with queue.turn("alice"):
                raise OSError
        async with queue.turn("bob"):
            pass

    asyncio.run(story())


def test_none_given_is_two_for_each_processor(turns: ModuleType) -> None:
    assert turns.Turns(0, 1).free._value >= turns.FOR_EACH_PROCESSOR
