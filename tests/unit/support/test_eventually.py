"""The waiting helper itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.eventually import eventually, eventually_sync


async def test_an_async_condition_is_asked_until_it_holds() -> None:
    """A condition that fails an assert and then answers falsely is asked again, and its first truthy answer comes back."""
    answers = iter([AssertionError("not yet"), 0, "here"])

    async def condition() -> object:
        answer = next(answers)
        if isinstance(answer, AssertionError):
            raise answer
        return answer

    assert await eventually(condition) == "here"


async def test_a_missed_deadline_names_what_was_waited_for_and_the_last_answer() -> None:
    """A condition that never holds fails with its name and the last thing it said."""
    with pytest.raises(AssertionError, match="for: the queue is empty; last answer: 0"):
        await eventually(lambda: 0, 0.0, what="the queue is empty")


async def test_a_hanging_condition_is_cut_at_the_deadline() -> None:
    """A condition that never returns fails the test instead of hanging it."""
    with pytest.raises(AssertionError, match="did not return"):
        await eventually(asyncio.Event().wait, 0.01)


def test_an_unexpected_error_passes_through_at_once() -> None:
    """An error that is not "not yet" is not swallowed by the waiting."""

    def condition() -> bool:
        raise KeyError("typo")

    with pytest.raises(KeyError):
        eventually_sync(condition)


def test_the_sync_twin_gives_the_same_story() -> None:
    """Without a loop the answer and the failure are the same."""
    assert eventually_sync(lambda: 7) == 7
    with pytest.raises(AssertionError, match="last answer: AssertionError"):
        eventually_sync(_never, 0.0)


def _never() -> bool:
    raise AssertionError("no")
