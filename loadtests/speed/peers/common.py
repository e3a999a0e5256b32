"""What every peer shares: the model on one event, the outputs, the clock. Runs in the peers' own environment, not in ours."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
import orjson

from loadtests.speed.clocked import Stopwatch

EVERY = 200


class Peer:
    """Arguments, model and stopwatch of one run: ``kafka in-topic out-topic model-file events form group``.

    ``form`` is ``event``, or ``batch`` where the program has a documented way to hand over many events at once.
    """

    def __init__(self) -> None:
        self.kafka, self.source, self.target, model, events, form, self.group = sys.argv[1:8]
        self.batched = form == "batch"
        self.events = int(events)
        self.seen = 0
        self.watch = Stopwatch(self.events)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def answer(self, key: bytes, value: bytes) -> bytes:
        """The outputs of a prediction: id, class, probabilities, uncertainty."""
        (answer,) = self.answers([key], [value])
        return answer

    def answers(self, keys: Sequence[bytes], values: Sequence[bytes]) -> list[bytes]:
        """The same of many events, with one run of the model."""
        inputs = np.frombuffer(b"".join(values), np.float32).reshape(len(values), -1)
        (probabilities,) = self._session.run(None, {"x": inputs})
        ordered = np.partition(probabilities, -2, axis=1)
        margins = (ordered[:, -1] - ordered[:, -2]).tolist()
        labels = probabilities.argmax(axis=1).tolist()
        return [
            orjson.dumps({"event_id": key.decode(), "label": label, "probabilities": row, "uncertainty": 1.0 - margin})
            for key, label, row, margin in zip(keys, labels, probabilities.tolist(), margins, strict=True)
        ]

    def count(self, events: int = 1) -> bool:
        """``events`` more are done; True with the last."""
        self.seen += events
        if self.seen - self.watch.done >= EVERY or self.seen >= self.events:
            self.watch.add(self.seen - self.watch.done)
        return self.seen >= self.events

    def finish(self) -> None:
        """Print the figures, the framework's last flush included, and end the process whatever the framework would do first."""
        self.watch.add(0)
        # Faust takes sys.stdout for its own log.
        print(json.dumps(self.watch.measured().as_json()), file=sys.__stdout__, flush=True)
        os._exit(0)
