"""Writes ONNX graphs node by node, with the weights in one file beside them that is mapped into memory, not read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Weights = Callable[[str], npt.NDArray[np.float32]]  # by the name that transformers gives them

OPSET = 17
FUSED = "com.microsoft"  # onnxruntime's own operators
_ALIGN = 4096  # bytes: a page, so that every weight can be mapped on its own
_SMALL = 1024  # entries up to which a weight stands in the graph itself


class GraphWriter:
    """Collects nodes and weights; every method returns the name of what it added."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._nodes: list[Any] = []  # of the graph, or of the branch that is being written
        self._count = 0
        self._weights: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._data = (folder / f"{name}.bin").open("wb")

    def input(self, name: str, shape: Sequence[str | int], kind: str = "FLOAT") -> str:
        """Declare an input; a word in `shape` is a length that varies."""
        from onnx import TensorProto, helper

        self._inputs.append(helper.make_tensor_value_info(name, getattr(TensorProto, kind), list(shape)))
        return name

    def output(self, name: str, value: str, shape: Sequence[str | int]) -> None:
        """Declare an output that is `value`."""
        from onnx import TensorProto, helper

        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def node(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Add an operator; the name of its output, or a list of them where there are several."""
        from onnx import helper

        self._count += 1
        names = [f"{kind}{self._count}.{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def only_if(self, condition: str, branch: Callable[[], str], otherwise: str) -> str:
        """The value that `branch` adds the nodes of, which run where `condition` holds; else the value `otherwise`.

        Args:
            condition: a single truth value.
            branch: adds the nodes and returns the name of the value, a float32 tensor.
            otherwise: a value that exists already.
        """
        from onnx import TensorProto, helper

        before, self._nodes = self._nodes, []
        value = branch()
        graphs = {"then_branch": (self._nodes, value)}
        self._nodes = []
        graphs["else_branch"] = (self._nodes, self.node("Identity", otherwise))
        written = {
            name: helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)])
            for name, (nodes, out) in graphs.items()
        }
        self._nodes = before
        return str(self.node("If", condition, **written))

    def weight(self, name: str, values: npt.NDArray[Any]) -> str:
        """Add a weight; a large one goes to the file beside the graph."""
        from onnx import TensorProto, numpy_helper

        values = np.ascontiguousarray(values)
        if values.size <= _SMALL:
            self._weights.append(numpy_helper.from_array(values, name))
            return name
        start = -(-self._data.tell() // _ALIGN) * _ALIGN
        self._data.write(b"\0" * (start - self._data.tell()))
        self._data.write(values.data)
        tensor = TensorProto(name=name, dims=values.shape, data_location=TensorProto.EXTERNAL)
        tensor.data_type = numpy_helper.from_array(values[:0], name).data_type
        for key, value in (("location", f"{self._name}.bin"), ("offset", start), ("length", values.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self._weights.append(tensor)
        return name

    def integers(self, *values: int) -> str:
        """A constant list of integers, as shapes and axes are given; equal ones are one."""
        return self._constant(np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """A constant number."""
        return self._constant(np.array(value, dtype=np.float32))

    def _constant(self, values: npt.NDArray[Any]) -> str:
        key = (values.dtype.str, values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = self.weight(f"constant{len(self._constants)}", values)
        return self._constants[key]

    def save(self) -> None:
        """Write the graph."""
        from onnx import helper

        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(FUSED, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        self._data.close()
        (self._folder / f"{self._name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
