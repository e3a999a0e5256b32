"""What happens to the in-memory queue's tasks without anybody answering: time passes, a model or an order takes them back."""

from __future__ import annotations

from collections.abc import Sequence

from tiebreak.contracts.messages import Task
from tiebreak.labeling.grants import Grants
from tiebreak.labeling.lifecycle import TaskState
from tiebreak.labeling.memory_review import forget_notes
from tiebreak.labeling.memory_state import State
from tiebreak.labeling.port import QueueSettings, Swept
from tiebreak.labeling.port_erasing import Erased
from tiebreak.labeling.routing import place_of, route_of


def end_build(s: State, done: Sequence[tuple[str, int]], grants: Grants, now: int) -> None:
    """``done`` tasks are settled for good; leases that stand are put back, and the index is open."""
    for task_id, revision in done:
        s.done.setdefault(task_id, (TaskState.SETTLED, revision))
    for grant in grants.standing():
        if grant.deadline_ms > now:
            s.regrant(grant)
    s.built = True


def sweep(s: State, settings: QueueSettings, now: int, limit: int) -> Swept:
    """Return expired leases, expire stale tasks, drop the content of settled ones, at most ``limit`` of each."""
    late = sorted((deadline, i) for i, deadline in s.leases.items() if deadline <= now)[:limit]
    for _, task_id in late:
        entry = s.tasks[task_id]
        entry.pending.pop(entry.holder or "", None)
        s.unlease(task_id)
        s.offer(task_id)
    kept = [i for i, until in s.kept.items() if until <= now][:limit]
    for task_id in kept:
        s.unoffer(task_id)
        s.offer(task_id)
    return Swept(len(late), _expire(s, now, limit), _purge(s, settings, now, limit), len(kept))


def _expire(s: State, now: int, limit: int) -> int:
    expired = 0
    for task_id in [i for i, at in s.expiry.items() if at <= now][:limit]:
        entry = s.tasks[task_id]
        if entry.holder is not None:
            continue
        del s.expiry[task_id]
        if entry.answers or entry.sequence:
            continue  # somebody's work is in it: it stays until it is settled
        s.drop(task_id, TaskState.EXPIRED)
        expired += 1
    return expired


def _purge(s: State, settings: QueueSettings, now: int, limit: int) -> int:
    due = [i for i, at in s.purge.items() if at <= now]
    ready = [i for i in due if not s.tasks[i].is_unfinished(now - settings.keep_ms)][:limit]
    for task_id in ready:
        del s.purge[task_id]
        s.emptied[task_id] = now + settings.keep_ms
        s.done[task_id] = (TaskState.SETTLED, s.tasks[task_id].label_revision)
        s.unlease(task_id)
        forget_notes(s.tasks[task_id])
    for task_id in [i for i, at in s.emptied.items() if at <= now][:limit]:
        del s.emptied[task_id]
        del s.tasks[task_id]
    return len(ready)


def withdraw(s: State, task_ids: Sequence[str]) -> int:
    """Take back for good what nobody was ever given; how many left."""
    untouched = [i for i in dict.fromkeys(task_ids) if i in s.tasks and s.tasks[i].is_untouched]
    for task_id in untouched:
        s.drop(task_id, TaskState.WITHDRAWN)
        s.expiry.pop(task_id, None)
    return len(untouched)


def erase(s: State, task_ids: Sequence[str]) -> Erased:
    """Forget tasks for good, in whatever state they are; what was there."""
    found, gone = Erased(), frozenset(task_ids)
    for task_id in gone:
        found += _erase(s, task_id)
    s.receipts = {place: kept for place, kept in s.receipts.items() if kept[2] not in gone}
    for lines in s.history.values():
        for annotation_id in [i for i, line in lines.items() if line.task_id in gone]:
            del lines[annotation_id]
            found += Erased(lines=1)
    return found


def forget_before(s: State, before_ms: int, awaited_since_ms: int) -> Erased:
    """Forget the answers given before then, but for one that was promised later than ``awaited_since_ms`` and is not folded."""
    s.receipts = {place: kept for place, kept in s.receipts.items() if kept[1].accepted_ms >= before_ms}
    old = [(lines, i) for lines in s.history.values() for i, line in lines.items() if line.at_ms < before_ms]
    for lines, annotation_id in old:
        del lines[annotation_id]
    found = Erased(lines=len(old) + sum(forget_notes(entry, before_ms) for entry in s.tasks.values()))
    for task_id, entry in s.tasks.items():
        past = [
            by
            for by in entry.answers
            if entry.given_ms(by) < before_ms and not entry.is_awaited_of(by, awaited_since_ms)
        ]
        for by in past:
            entry.forget(by, wholly=task_id in s.emptied)
        if past and task_id not in s.emptied:
            s.offer(task_id)
        found += Erased(answers=len(past))
    return found


def _erase(s: State, task_id: str) -> Erased:
    here = task_id in s.tasks and task_id not in s.emptied
    gold = s.gold.pop(task_id, None)
    s.done[task_id] = (TaskState.ERASED, 0)
    if task_id not in s.tasks:
        return Erased(tasks=int(gold is not None))
    entry = s.tasks[task_id]
    s.open_tasks -= entry.state is not TaskState.SETTLED
    s.unoffer(task_id)
    for places in (s.leases, s.expiry, s.purge, s.emptied):
        places.pop(task_id, None)
    del s.tasks[task_id]
    return Erased(int(here or gold is not None), int(entry.holder is not None), len(entry.answers))


def rerank(s: State, settings: QueueSettings, tasks: Sequence[Task]) -> int:
    """Give waiting tasks the place of their priority; how many were waiting."""
    waiting = [task for task in tasks if task.task_id in s.routes[route_of(task)]]
    for task in waiting:
        s.tasks[task.task_id].rank = place_of(task, settings.head_start_ms)
        s.unoffer(task.task_id)
        s.offer(task.task_id)
    return len(waiting)
