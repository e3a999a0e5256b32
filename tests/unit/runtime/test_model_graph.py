"""What a model file may not hold, found before onnxruntime sees it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.support.models import dense, points
from tiebreak.contracts.errors import ModelRefused
from tiebreak.runtime.model_graph import parse, refuse_unsafe

GOOD = dense(points(4, 3, seed=1), squash="Softmax")


def test_a_tensor_of_a_million_dimensions_is_refused() -> None:
    """All of size 1, so that its bytes fill them: only their number gives it away."""
    proto = parse(GOOD)
    proto.graph.initializer.append(
        helper.make_tensor("t", TensorProto.FLOAT, [1] * 10**6, np.zeros(1, "<f4").tobytes(), raw=True)
    )
    with pytest.raises(ModelRefused, match="has 1000000 dimensions"):
        refuse_unsafe(proto, 1000)


def test_a_file_that_says_how_it_is_to_be_run_is_refused() -> None:
    """onnxruntime would take session options from its metadata, a library of operators among them."""
    proto = parse(GOOD)
    entry = proto.metadata_props.add()
    entry.key, entry.value = "ort_config", '{"session_options": {}}'
    with pytest.raises(ModelRefused, match="may not choose how it is run"):
        refuse_unsafe(proto, 1000)


def test_contributed_operators_are_refused() -> None:
    """Those of onnxruntime's own domain too: an allowlist, not a list of the bad ones."""
    proto = parse(GOOD)
    proto.graph.node[0].domain = "com.microsoft"
    with pytest.raises(ModelRefused, match=r"com.microsoft.MatMul is outside"):
        refuse_unsafe(proto, 1000)
