"""The cyclic garbage collector, told what a stream is like."""

from __future__ import annotations

import gc

YOUNGEST = 200_000


def collect_rarely() -> None:
    """Call once, when a process has made what it keeps.

    A batch is tens of thousands of objects that all die with it, by reference counts: at the default threshold (700) the
    collector walks them again and again and finds nothing, at a tenth of the whole cost of an event. What exists now is kept
    out of every later walk. Cycles are still found, a few batches later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST, 10, 10)
