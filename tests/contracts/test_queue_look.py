"""Looking at a task's content, over the in-memory twin and over Redis alike."""

from __future__ import annotations

from tests.support.labeling import HASTY, Bench, a_task, answer, decided


async def test_a_task_can_be_looked_at_while_its_content_is_here(bench: Bench) -> None:
    """Waiting or in somebody's hands it is the task as it was added; an unknown one, and one whose content was dropped, are None."""
    task = a_task(1)
    queue = bench.queue()
    await queue.add([task])
    assert await queue.look(task.task_id) == task
    (lease,) = (await queue.claim("ann", 1)).leases
    assert await queue.look(task.task_id) == task
    assert await queue.look("0" * 32) is None

    hasty = bench.queue(HASTY)
    (applied,) = await hasty.apply([await answer(hasty, lease, "ann", "cat")])
    assert applied.record is not None
    (label,) = await hasty.settle([decided(applied.record)])
    assert label is not None
    await hasty.published([(label.task_id, label.revision)])
    await bench.pass_ms(20)
    await hasty.sweep(10)
    assert await queue.look(task.task_id) is None
