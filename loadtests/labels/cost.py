"""What a decision costs: batches of 1,024 events, 64 classes, 384-wide embeddings, the default project."""

from __future__ import annotations

from time import process_time

import numpy as np
from threadpoolctl import threadpool_limits

from tiebreak.contracts.ports import Grant
from tiebreak.contracts.project import Classes, Input, Project, TensorSpec
from tiebreak.sampling.appraisal import Moment, Policy, Scored, initial
from tiebreak.sampling.policy import decide

EVENTS, CLASSES, WIDTH = 1024, 64, 384
BATCHES, WARM_UP, TURNS = 24, 4, 3
REACH_US = 5.0


def decision_us() -> float:
    """Microseconds of processor time per event, the median batch of the best turn, on one thread."""
    policy = Policy.of(
        Project(
            project="bench",
            input=Input(tensors=(TensorSpec(name="input", shape=(WIDTH,)),)),
            classes=Classes(open=True),
        )
    )
    batches = _batches(np.random.default_rng(0))
    with threadpool_limits(1):
        return min(_turn(policy, batches) for _ in range(TURNS))


def _turn(policy: Policy, batches: list[Scored]) -> float:
    state, spent = initial(policy), []
    for number, batch in enumerate(batches):
        began = process_time()
        _, state = decide(policy, state, batch, Grant(10**6, 0), Moment(float(number)))
        spent.append(process_time() - began)
    return 1e6 * float(np.median(spent[WARM_UP:])) / EVENTS


def _batches(rng: np.random.Generator) -> list[Scored]:
    centres = rng.normal(size=(CLASSES, WIDTH))
    made = []
    for number in range(BATCHES):
        y = rng.integers(0, CLASSES, EVENTS)
        x = (centres[y] + rng.normal(size=(EVENTS, WIDTH))).astype(np.float32)
        logits = rng.normal(size=(EVENTS, CLASSES))
        logits[np.arange(EVENTS), y] += 6.0 * rng.random(EVENTS)
        p = np.exp(logits)
        p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
        ids = [b"event-%d" % (number * EVENTS + row) for row in range(EVENTS)]
        made.append(Scored(ids, "v1", p, features=x, inputs=x, offset=(number + 1) * EVENTS - 1))
    return made
