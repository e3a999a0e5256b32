"""What every peer shares: the model on one event, the outputs, the clock. Runs in the peers' own environment, not in ours."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np
import onnxruntime
import orjson

from loadtests.speed.clocked import Stopwatch

EVERY = 200


class Peer:
    """Arguments, model and stopwatch of one run: ``kafka in-topic out-topic model-file events``."""

    def __init__(self) -> None:
        self.kafka, self.source, self.target, model, events = sys.argv[1:6]
        self.events = int(events)
        self.seen = 0
        self.watch = Stopwatch(self.events)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def answer(self, key: bytes, value: bytes) -> bytes:
        """The outputs of a prediction: id, class, probabilities, uncertainty."""
        (probabilities,) = self._session.run(None, {"x": np.frombuffer(value, np.float32)[None]})
        (row,) = probabilities
        second, first = np.partition(row, -2)[-2:].tolist()
        return orjson.dumps(
            {
                "event_id": key.decode(),
                "label": int(row.argmax()),
                "probabilities": row.tolist(),
                "uncertainty": 1.0 - (first - second),
            }
        )

    def count(self) -> bool:
        """One more event is done; True with the last."""
        self.seen += 1
        if self.seen % EVERY == 0 or self.seen >= self.events:
            self.watch.add(self.seen - self.watch.done)
        return self.seen >= self.events

    def finish(self) -> None:
        """Print the figures, the framework's last flush included, and end the process whatever the framework would do first."""
        self.watch.add(0)
        # Faust takes sys.stdout for its own log.
        print(json.dumps(self.watch.measured().as_json()), file=sys.__stdout__, flush=True)
        os._exit(0)
