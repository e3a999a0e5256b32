"""What the options of an onnxruntime session are worth here: microseconds per row, as a Markdown table.

``python -m loadtests.speed.options``. Wall clock and processor time, each the least of several turns: a stream pays for the second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import onnxruntime as ort

from loadtests.speed.models import HEAVY_LAYERS, SMALL_LAYERS, perceptron, vectors

TURNS = 5
SIZES: Mapping[str, tuple[tuple[int, ...], Mapping[int, int]]] = {
    "small": (SMALL_LAYERS, {1: 2000, 256: 200, 4096: 20}),
    "heavy": (HEAVY_LAYERS, {1: 20, 256: 2}),
}
ALL, BASIC, NONE = (
    ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
)


@dataclass(frozen=True, slots=True)
class Variant:
    """Options; the defaults are those of ``runtime/onnx_session.py``."""

    threads: int = 1
    spinning: bool = False
    memory_pattern: bool = False
    arena: bool = True
    level: ort.GraphOptimizationLevel = ALL

    def options(self) -> ort.SessionOptions:
        """As onnxruntime takes them."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.enable_mem_pattern = self.memory_pattern
        options.enable_cpu_mem_arena = self.arena
        options.graph_optimization_level = self.level
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(self.spinning)))
        return options


VARIANTS: Mapping[str, Variant] = {
    "as shipped": Variant(),
    "two threads": Variant(threads=2),
    "two threads that spin": Variant(threads=2, spinning=True),
    "memory pattern on": Variant(memory_pattern=True),
    "no arena": Variant(arena=False),
    "basic graph optimisation": Variant(level=BASIC),
    "no graph optimisation": Variant(level=NONE),
}


def measure(session: ort.InferenceSession, rows: int, repeats: int) -> tuple[float, float]:
    """Microseconds per row: of the clock, and of the processor."""
    inputs = {"x": vectors(rows)}
    session.run(None, inputs)
    wall, processor = [], []
    for _ in range(TURNS):
        began, used = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            session.run(None, inputs)
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return 1e6 * min(wall) / (rows * repeats), 1e6 * min(processor) / (rows * repeats)


def main() -> None:
    """Print the table."""
    models = {name: perceptron(layers) for name, (layers, _) in SIZES.items()}
    columns = [(name, rows) for name, (_, sizes) in SIZES.items() for rows in sizes]
    print("| options | " + " | ".join(f"{name}, batch {rows}" for name, rows in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for title, variant in VARIANTS.items():
        cells = []
        for name, (_, sizes) in SIZES.items():
            session = ort.InferenceSession(models[name], variant.options(), providers=["CPUExecutionProvider"])
            cells += [measure(session, rows, repeats) for rows, repeats in sizes.items()]
        print(f"| {title} | " + " | ".join(f"{wall:.3g} ({used:.3g})" for wall, used in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
