"""A committee of forests as nodes of the graph, and back from them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, NodeProto, helper

from tiebreak.training.trees import SMOOTHING, Forest

DOMAIN, DOMAIN_VERSION = "ai.onnx.ml", 3
OPERATOR = "TreeEnsembleRegressor"


def tree_nodes(forest: Forest, source: str, target: str) -> NodeProto:
    """One operator from ``source`` ``(n, d)`` to ``target`` ``(n, m * k)``: the sums of the members' trees."""
    k = forest.values.shape[1]
    tree, node = _places(forest)
    leaf = forest.left < 0
    at, column = np.nonzero(forest.values[forest.right[leaf]])
    leaves = np.flatnonzero(leaf)[at]
    first = forest.roots[tree]
    inner = np.where(leaf, 0, forest.left - first), np.where(leaf, 0, forest.right - first)
    operator = helper.make_node(
        OPERATOR,
        [source],
        [target],
        domain=DOMAIN,
        aggregate_function="SUM",
        post_transform="NONE",
        n_targets=int(forest.member[-1] + 1) * k,
    )
    columns = {
        "nodes_treeids": tree,
        "nodes_nodeids": node,
        "nodes_featureids": forest.feature,
        "nodes_values": forest.threshold,
        "nodes_truenodeids": inner[0],
        "nodes_falsenodeids": inner[1],
        "target_treeids": tree[leaves],
        "target_nodeids": node[leaves],
        "target_ids": forest.member[tree[leaves]] * k + column,
        "target_weights": forest.values[forest.right[leaves], column],
    }
    modes = [b"LEAF" if end else b"BRANCH_LEQ" for end in leaf.tolist()]
    listed = [_listed(name, column) for name, column in columns.items()]
    listed.append(AttributeProto(name="nodes_modes", type=AttributeProto.STRINGS, strings=modes))
    operator.attribute.extend(sorted(listed, key=lambda attribute: attribute.name))
    return operator


def _listed(name: str, values: NDArray[Any]) -> AttributeProto:
    # Not by the helper: it looks at every number of its own, which for a forest takes longer than growing a member.
    if values.dtype.kind == "f":
        return AttributeProto(name=name, type=AttributeProto.FLOATS, floats=values.tolist())
    return AttributeProto(name=name, type=AttributeProto.INTS, ints=values.tolist())


def forest_of(nodes: Sequence[NodeProto], k: int) -> Forest:
    """The forest that :func:`tree_nodes` wrote. Raises StopIteration or KeyError where there is none."""
    operator = next(node for node in nodes if node.op_type == OPERATOR and node.domain == DOMAIN)
    said = {a.name: helper.get_attribute_value(a) for a in operator.attribute}

    def numbers(name: str) -> NDArray[np.int64]:
        return np.asarray(said[name], np.int64)

    tree, leaf = numbers("nodes_treeids"), np.array([mode == b"LEAF" for mode in said["nodes_modes"]])
    roots = np.flatnonzero(numbers("nodes_nodeids") == 0)
    first = roots[tree]
    values = np.zeros((int(leaf.sum()), k), np.float32)
    row = np.cumsum(leaf) - 1
    at = roots[numbers("target_treeids")] + numbers("target_nodeids")
    values[row[at], numbers("target_ids") % k] = np.asarray(said["target_weights"], np.float32)
    member = np.zeros(len(roots), np.int64)
    member[numbers("target_treeids")] = numbers("target_ids") // k
    return Forest(
        feature=numbers("nodes_featureids").astype(np.int32),
        threshold=np.asarray(said["nodes_values"], np.float32),
        left=np.where(leaf, -1, numbers("nodes_truenodeids") + first).astype(np.int32),
        right=np.where(leaf, row, numbers("nodes_falsenodeids") + first).astype(np.int32),
        values=values,
        roots=roots.astype(np.int32),
        member=member.astype(np.int32),
    )


def smoothing(k: int, share: float = SMOOTHING) -> dict[str, NDArray[Any] | np.generic]:
    """Constants of the smoothing that keeps logarithms finite: ``share`` is spread over the classes."""
    return {"keep": np.float32(1.0 - share), "spread": np.float32(share / k)}


def _places(forest: Forest) -> tuple[NDArray[Any], NDArray[Any]]:
    sizes = np.diff([*forest.roots.tolist(), len(forest.left)])
    tree = np.repeat(np.arange(len(sizes)), sizes)
    return tree, np.arange(len(forest.left)) - forest.roots[tree]
