"""What a model file holds, read without running it. Pure: bytes or an ``onnx.ModelProto`` in, facts or a refusal out.

A model file is hostile input. ``onnx.checker`` and onnxruntime have each let external data, absurd dimensions and short
buffers through in some version, so every message of the file is visited here, wherever it is nested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tiebreak.contracts.errors import ModelRefused

ALLOWED_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# onnxruntime can be told to take session options from the file itself: a file must not choose how it is run.
_REFUSED_METADATA = frozenset({"ort_config"})
_MAX_ELEMENTS, _MAX_RANK = 2**31, 64
_MAX_NESTING = 32
_Name = tuple[str, str, str]  # of a function: domain, name, overload
_PASS_THROUGH = frozenset({"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout"})
_LABEL_ATTRIBUTES = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_DATATYPES: Mapping[int, str] = {
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT8: "INT8",
    TensorProto.INT16: "INT16",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.FLOAT16: "FP16",
    TensorProto.FLOAT: "FP32",
    TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "BYTES",
}


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a graph. ``shape`` has the batch axis and None where a size is free; it is None when not given.

    ``datatype`` is an Open Inference Protocol v2 name, or ``MAPS`` for sklearn's sequence of maps, or ``OTHER``.
    """

    name: str
    datatype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph's face. ``labels``: class names found in it, in column order. ``makers``: output -> the node that computes it."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    labels: tuple[str, ...]
    labels_are_numbers: bool
    makers: Mapping[str, NodeProto]
    nodes: int


def parse(model: bytes) -> ModelProto:
    """The file as a message. Raises ModelRefused when it is not an ONNX model."""
    try:
        proto = onnx.load_model_from_string(model)
    except DecodeError as error:
        raise ModelRefused(
            "The file is not an ONNX model.", fix="Export it again, for example with skl2onnx."
        ) from error
    if not proto.graph.output or not proto.opset_import:
        raise ModelRefused("The file holds no ONNX graph with outputs.", fix="It may be empty or cut short.")
    return proto


def refuse_unsafe(model: ModelProto, max_nodes: int) -> int:
    """Visit every message of the file, return the number of nodes. Raises ModelRefused with the first fault found.

    Refused anywhere (initializers, sparse tensors, constants, subgraphs, functions, training info): external data, tensors whose
    bytes do not fill their dimensions, operators outside :data:`ALLOWED_DOMAINS` that the file does not define itself, functions that
    call themselves or grow beyond the cap when written out.
    """
    own = {(function.domain, function.name) for function in model.functions}
    nodes = 0
    for message in _messages(model):
        if isinstance(message, TensorProto):
            _check_tensor(message)
        elif isinstance(message, NodeProto):
            nodes += 1
            if nodes > max_nodes:
                raise ModelRefused(f"The graph has more than {max_nodes} nodes.", fix="Raise gate.max_nodes if meant.")
            if message.domain not in ALLOWED_DOMAINS and (message.domain, message.op_type) not in own:
                raise ModelRefused(f"Operator {message.domain}.{message.op_type} is outside the allowed domains.")
    functions = {(f.domain, f.name, f.overload): f for f in model.functions}
    if _written_out(model.graph, functions, {}, ()) > max_nodes:
        raise ModelRefused(f"Its functions written out, the graph has more than {max_nodes} nodes.")
    for entry in model.metadata_props:
        if entry.key in _REFUSED_METADATA:
            raise ModelRefused(f"The file's metadata sets {entry.key!r}: a model may not choose how it is run.")
    return nodes


def describe(model: ModelProto) -> Graph:
    """The face of a graph that passed :func:`refuse_unsafe`."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_port(value) for value in model.graph.input if value.name not in constants)
    makers = {name: node for node in model.graph.node for name in node.output}
    labels, numbers = _labels(model.graph)
    return Graph(
        inputs=inputs,
        outputs=tuple(_output(value, makers) for value in model.graph.output),
        labels=labels,
        labels_are_numbers=numbers,
        makers={value.name: _maker(value.name, makers) for value in model.graph.output if value.name in makers},
        nodes=len(model.graph.node),
    )


def keep_outputs(model: ModelProto, wanted: Sequence[str]) -> ModelProto:
    """The same model giving only ``wanted``, with sklearn's ZipMap taken out where it stands before one of them.

    ZipMap turns the ``(n, k)`` scores into n dictionaries, which costs more than most models; its columns are in the order
    of :attr:`Graph.labels`. onnxruntime then drops the nodes that only fed the outputs left out.
    """
    slim = ModelProto()
    slim.CopyFrom(model)
    maps = {node.output[0]: node for node in slim.graph.node if node.op_type == "ZipMap"}
    for name in wanted:
        if name in maps:
            node = maps[name]
            # The name is kept, so that a plan made for the file fits the slim graph too.
            node.CopyFrom(helper.make_node("Identity", [node.input[0]], [name]))
    kept = {value.name: value for value in slim.graph.output}
    del slim.graph.output[:]
    for name in wanted:
        value = kept[name]
        if name in maps:
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None])
        slim.graph.output.append(value)
    return slim


def _written_out(
    root: Message, functions: Mapping[_Name, Message], known: dict[_Name, int], within: tuple[_Name, ...]
) -> int:
    """Nodes once each call of the file's own functions is replaced by its body, as onnxruntime does: a few lines can be millions."""
    if len(within) > _MAX_NESTING:
        raise ModelRefused(f"The file's functions call one another more than {_MAX_NESTING} deep.")
    total = 0
    for node in _messages(root):
        if not isinstance(node, NodeProto):
            continue
        name = (node.domain, node.op_type, node.overload)
        if name in functions and name not in known:
            known[name] = _written_out(functions[name], functions, known, (*within, name))
        total += known.get(name, 1)
    return total


def _messages(root: Message) -> Iterator[Message]:
    stack: list[Message] = [root]
    while stack:
        message = stack.pop()
        yield message
        for _field, value in message.ListFields():
            if isinstance(value, Message):
                stack.append(value)
            elif not isinstance(value, str | bytes | int | float) and len(value) and isinstance(value[0], Message):
                stack.extend(value)


def _check_tensor(tensor: TensorProto) -> None:
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise ModelRefused(
            f"Tensor {tensor.name!r} keeps its data outside the file.",
            fix="Export the model as one self-contained file.",
        )
    if tensor.HasField("segment"):
        raise ModelRefused(f"Tensor {tensor.name!r} is a segment of a larger one.")
    if len(tensor.dims) > _MAX_RANK:
        raise ModelRefused(f"Tensor {tensor.name!r} has {len(tensor.dims)} dimensions.")
    if any(size < 0 or size >= _MAX_ELEMENTS for size in tensor.dims) or prod(tensor.dims) >= _MAX_ELEMENTS:
        raise ModelRefused(f"Tensor {tensor.name!r} has impossible dimensions.")
    if tensor.HasField("raw_data"):
        _check_raw(tensor)


def _check_raw(tensor: TensorProto) -> None:
    if tensor.data_type not in _DATATYPES or tensor.data_type == TensorProto.STRING:
        return  # packed sub-byte types: onnxruntime unpacks and checks them itself
    width = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    if len(tensor.raw_data) != width * prod(tensor.dims):
        raise ModelRefused(f"Tensor {tensor.name!r} has bytes that do not fill its dimensions.")


def _port(value: onnx.ValueInfoProto) -> Port:
    kind = value.type.WhichOneof("value")
    if kind == "sequence_type" and value.type.sequence_type.elem_type.WhichOneof("value") == "map_type":
        return Port(value.name, "MAPS", None)
    if kind != "tensor_type":
        return Port(value.name, "OTHER", None)
    tensor = value.type.tensor_type
    datatype = _DATATYPES.get(tensor.elem_type, "OTHER")
    if not tensor.HasField("shape"):
        return Port(value.name, datatype, None)
    sizes = tuple(
        d.dim_value if d.WhichOneof("value") == "dim_value" and d.dim_value > 0 else None for d in tensor.shape.dim
    )
    return Port(value.name, datatype, sizes)


def _output(value: onnx.ValueInfoProto, makers: Mapping[str, NodeProto]) -> Port:
    port = _port(value)
    if port.datatype == "MAPS" and (value.name not in makers or makers[value.name].op_type != "ZipMap"):
        return Port(port.name, "OTHER", None)  # maps from anything else cannot be taken apart
    return port


def _maker(name: str, makers: Mapping[str, NodeProto]) -> NodeProto:
    node = makers[name]
    for _ in makers:  # bounded: a cyclic graph must not hold us here
        if node.op_type not in {*_PASS_THROUGH, "ZipMap"} or not node.input or node.input[0] not in makers:
            break
        node = makers[node.input[0]]
    return node


def _labels(graph: GraphProto) -> tuple[tuple[str, ...], bool]:
    """Class names in column order, and whether the graph had them as numbers. ZipMap knows best: it names the columns."""
    for node in sorted(graph.node, key=lambda n: n.op_type != "ZipMap"):
        if node.domain == "ai.onnx.ml":
            for attribute in node.attribute:
                found = _label_list(attribute) if attribute.name in _LABEL_ATTRIBUTES else ()
                if found:
                    return found, attribute.type == AttributeProto.INTS
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        # skl2onnx picks the label by position from a constant array of classes where no classifier node holds them.
        if (
            node.op_type == "ArrayFeatureExtractor"
            and node.input
            and "class" in node.input[0]
            and node.input[0] in constants
        ):
            return _array_labels(constants[node.input[0]])
    return (), False


def _array_labels(tensor: TensorProto) -> tuple[tuple[str, ...], bool]:
    values = numpy_helper.to_array(tensor).ravel()
    if values.dtype.kind == "f":
        values = values.astype("<i8")
    names = tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist())
    return names, values.dtype.kind in "iu"


def _label_list(attribute: AttributeProto) -> tuple[str, ...]:
    if attribute.type == AttributeProto.STRINGS:
        return tuple(name.decode("utf-8", "replace") for name in attribute.strings)
    return tuple(str(number) for number in attribute.ints)
