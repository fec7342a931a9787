"""Graph: nodes of one ONNX model as they are added; equal nodes are made once, so that folds share what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from automl.errors import MissingPackageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OPSET, ML_OPSET, IR_VERSION = 21, 3, 10
"""Versions of the operators that are used, and of the format; onnxruntime reads them since 1.18 (2024)."""

ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"

TYPES = {"float32": 1, "int32": 6, "int64": 7, "object": 8, "bool": 9, "float64": 11}
"""Numbers of element types by numpy's names; object = text."""


def load_onnx() -> Any:
    """Return the package `onnx`.

    Raises
    ------
    MissingPackageError : it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingPackageError("onnx", "onnx", "writing ONNX models") from error
    return onnx


class Graph:
    """Nodes, constants and inputs. Values are names.

    Examples
    --------
    >>> graph = Graph()
    >>> x = graph.input("x", "float64", 1)
    >>> graph.op("Add", x, graph.constant(1.0)) == graph.op("Add", x, graph.constant(1.0)), len(graph.nodes)
    (True, 1)
    """

    def __init__(self) -> None:
        self._onnx = load_onnx()
        self.nodes: list[Any] = []
        self.inputs: dict[str, tuple[str, int]] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._tensors: list[Any] = []
        self._made: dict[Any, Any] = {}

    def input(self, name: str, kind: str, width: int) -> str:
        """Return the input of that name, shape [rows, width]; kind as in TYPES."""
        self.inputs[name] = (kind, width)
        return name

    def constant(self, value: Any, kind: str = "float64") -> str:
        """Return a constant: numbers of a kind, or text ("object")."""
        array = np.asarray(value, dtype=object if kind == "object" else kind)
        content = "\0".join(map(str, array.ravel())).encode() if kind == "object" else array.tobytes()
        key = kind, array.shape, content
        if key not in self._constants:
            name = self._constants[key] = f"constant/{len(self._constants)}"
            if kind == "object":
                words = [str(w).encode("utf-8", "replace") for w in array.ravel()]
                tensor = self._onnx.helper.make_tensor(name, TYPES[kind], array.shape, words)
            else:
                tensor = self._onnx.numpy_helper.from_array(array, name)
            self._tensors.append(tensor)
        return self._constants[key]

    def op(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """Add a node. Returns the name of its output, or a tuple of names where it has several."""
        key = kind, inputs, domain, outputs, repr(sorted(attributes.items())) if len(str(attributes)) < 500 else None
        if key[-1] is not None and key in self._made:
            return self._made[key]
        names = [f"value/{len(self.nodes)}/{k}" for k in range(outputs)]
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        made = names[0] if outputs == 1 else tuple(names)
        if key[-1] is not None:
            self._made[key] = made
        return made

    # -- what several parts need --------------------------------------------------------------------------------------

    def cast(self, x: str, kind: str) -> str:
        """Values as another type."""
        return str(self.op("Cast", x, to=TYPES[kind]))

    def concat(self, parts: Sequence[str]) -> str:
        """Columns side by side."""
        return parts[0] if len(parts) == 1 else str(self.op("Concat", *parts, axis=1))

    def columns(self, x: str, places: Sequence[int]) -> str:
        """Some columns, in the order given."""
        return str(self.op("Gather", x, self.constant(list(places), "int64"), axis=1))

    def where_nan(self, x: str, fill: str) -> str:
        """Values, and others where there are none."""
        return str(self.op("Where", self.op("IsNaN", x), fill, x))

    def clip(self, x: str, low: float, high: float, kind: str) -> str:
        """Values cut to a range."""
        return str(self.op("Clip", x, self.constant(low, kind), self.constant(high, kind)))

    def total(self, x: str) -> str:
        """Sum of each row, shape [rows, 1]."""
        return str(self.op("ReduceSum", x, self.constant([1], "int64"), keepdims=1))

    def sigmoid(self, x: str) -> str:
        """Logistic curve of float64; onnxruntime's own Sigmoid gives 0 below -37."""
        one = self.constant(1.0)
        return str(self.op("Div", one, self.op("Add", one, self.op("Exp", self.op("Neg", x)))))

    def unit_rows(self, x: str, kind: str = "float32") -> str:
        """Rows over their length; rows of zeros stay."""
        length = self.op("ReduceL2", x, self.constant([1], "int64"), keepdims=1)
        return str(self.op("Div", x, self.op("Max", length, self.constant(np.finfo(np.float32).tiny, kind))))

    def linear(self, x: str, coef: np.ndarray, intercept: Any) -> str:
        """Rows times coefficients [outputs, columns] plus intercepts; x and the result are float64."""
        product = self.op("MatMul", x, self.constant(np.ascontiguousarray(coef.T)))
        return str(self.op("Add", product, self.constant(np.atleast_1d(intercept))))

    def among(self, place: str, width: int) -> str:
        """Zeros and ones, shape [rows, width]: one at each row's place [rows, 1] (int64), none where that is -1."""
        equal = self.op("Equal", place, self.constant(np.arange(width)[None, :], "int64"))
        return self.cast(equal, "float32")

    def place(self, words: str, known: Mapping[str, int], otherwise: int) -> str:
        """Number of each word (int64); `otherwise` for those not known."""
        if not known:
            shape = self.op("Shape", words)
            value = self._onnx.helper.make_tensor("value", TYPES["int64"], [1], [otherwise])
            return str(self.op("ConstantOfShape", shape, value=value))
        return str(
            self.op(
                "LabelEncoder",
                words,
                domain=ML,
                keys_strings=list(known),
                values_int64s=list(known.values()),
                default_int64=otherwise,
            )
        )

    def model(self, outputs: Mapping[str, tuple[str, str, int | None]], metadata: Mapping[str, str]) -> Any:
        """Build the model.

        Parameters
        ----------
        outputs : name -> (value, kind, width, None = one dimension). metadata : text that goes with it.
        """
        helper = self._onnx.helper
        nodes = [*self.nodes]
        told = []
        for name, (value, kind, width) in outputs.items():
            nodes.append(helper.make_node("Identity", [value], [name]))
            told.append(
                helper.make_tensor_value_info(name, TYPES[kind], ["rows"] if width is None else ["rows", width])
            )
        given = [
            helper.make_tensor_value_info(name, TYPES[kind], ["rows", width])
            for name, (kind, width) in self.inputs.items()
        ]
        graph = helper.make_graph(nodes, "forecastle", given, told, self._tensors)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="forecastle")
        helper.set_model_props(model, dict(metadata))
        return model


class Raw:
    """Raw columns as inputs, [rows, 1] each: numbers and dates (seconds since 1970) as float64, text as it is.

    A gap is NaN, or the empty text.

    Parameters
    ----------
    names : of the columns. matrix : columns of a matrix of nameless numbers, 0 = there is none; it is one input "X".
    """

    def __init__(self, graph: Graph, names: Sequence[str], matrix: int = 0) -> None:
        self._graph = graph
        self.names = input_names(names)
        self._matrix = matrix

    def numbers(self, columns: Sequence[int]) -> str:
        """Columns of numbers or dates side by side, float64."""
        return self._graph.concat([self._graph.input(self.names[i], "float64", 1) for i in columns])

    def words(self, i: int) -> str:
        """A column of text, shape [rows, 1]."""
        return self._graph.input(self.names[i], "object", 1)

    def texts(self, i: int) -> str:
        """A column of text, shape [rows]."""
        return str(self._graph.op("Squeeze", self.words(i), self._graph.constant([1], "int64")))

    def matrix(self) -> str:
        """The matrix, float32."""
        return self._graph.input("X", "float32", self._matrix)


OUTPUTS = ("label", "probabilities", "variable")


def input_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names of a graph's inputs: those of the columns, where they are not empty and no output has them.

    Examples
    --------
    >>> input_names(["size", "label", ""])
    ('size', 'label_1', 'column_2')
    """
    out: list[str] = []
    for k, name in enumerate(names):
        own = name or f"column_{k}"
        while own in OUTPUTS or own in out or (own != name and own in names):
            own = f"{own}_{k}"
        out.append(own)
    return tuple(out)
