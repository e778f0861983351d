"""A ``.pt2`` file, PyTorch's exported program.

``torch.export.load`` unpickles what the archive asks it to, compiles libraries it finds, and hands text to a symbolic
parser that evaluates it. So the archive is looked through first, by the same reader and from the same bytes, and only
plain ones are loaded:

- weights and constants as raw numbers, none pickled, no custom objects, no compiled parts;
- the example input as nothing but tensors;
- operators of PyTorch's own ``aten`` set, no control flow;
- fixed sizes, so that there is no expression to evaluate.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.digest import sha256_hex
from edgewright.bundle.errors import MissingExtraError
from edgewright.optimize.errors import ModelError, SpecError
from edgewright.optimize.sources.draw import draw, finish
from edgewright.optimize.sources.torch_export import compare_with_torch, export_program
from edgewright.optimize.spec import ModelSpec, SourceModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgewright.optimize.sources.draw import Given
    from edgewright.optimize.sources.float_model import FloatModel

__all__ = ["load_program"]

_MAX_BYTES = 2 << 30
_MAX_MEMBERS = 65_536
_EXPORT_AGAIN = "export it again: torch.export.save(torch.export.export(model.eval(), (picture,)), 'MODEL.pt2')"
_MODEL = "models/model.json"
_SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN_CONTAINERS = frozenset({"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})


def load_program(path: Path, given: Given) -> FloatModel:
    """Loads, exports to ONNX, and compares.

    Raises:
        ModelError: The file is no exported program, is not plain, or is no picture model.
        SpecError: Nothing says how to read it, or the spec does not fit it.
        MissingExtraError: PyTorch is not installed.
    """
    data = _read(path)
    if find_spec("torch") is None:
        what = f"{path} is a PyTorch exported program and torch is not installed"
        raise MissingExtraError(what, "torch")
    program = _load(data, path)
    where = str(path)
    shape = _picture_shape(program, where)
    if given.spec is None:
        msg = (
            f"{where} does not say what its numbers mean; for a classifier add --task classify, for a detector describe "
            "it with --spec FILE.toml"
        )
        raise SpecError(msg)
    if isinstance(given.spec, ModelSpec):
        given = replace(given, spec=replace(given.spec, input_shape=None))
    names = _output_names(program)
    exported = export_program(program, np.zeros(shape, np.float32), "input", names, where)
    drawn = draw(exported, given, path)
    source = SourceModel(_Flat(program), drawn.spec, names)
    kept = [value.name for value in exported.graph.output]
    source = replace(source, module=_Flat(program, tuple(names.index(name) for name in kept)), output_names=tuple(kept))
    difference, outputs = compare_with_torch(exported.SerializeToString(), source, drawn.feeds, where)
    note = (
        f"exported program converted by torch.onnx; largest difference from PyTorch on {len(drawn.feeds)} inputs: "
        f"{difference:.2g}"
    )
    made = finish(replace(drawn, notes=(note, *drawn.notes)), where, sha256_hex(data), packages=("torch", "onnxscript"))
    return replace(made, max_difference=difference, reference=tuple(tuple(row) for row in outputs))


class _Flat:
    """The program as a function to a flat tuple of some of its outputs."""

    def __init__(self, program: Any, columns: tuple[int, ...] | None = None) -> None:
        self._module = program.module()
        self._columns = columns

    def __call__(self, picture: Any) -> tuple[Any, ...]:
        from torch.utils import _pytree

        made = _pytree.tree_leaves(self._module(picture))
        return tuple(made) if self._columns is None else tuple(made[column] for column in self._columns)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            msg = f"{path} does not exist, or is not a file; give the path of a .pt2 file"
            raise ModelError(msg)
        size = path.stat().st_size
        data = path.read_bytes() if size <= _MAX_BYTES else b""
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise ModelError(msg) from error
    if size > _MAX_BYTES:
        msg = f"{path} has {size} bytes; at most {_MAX_BYTES} are read, and edge models are far smaller"
        raise ModelError(msg)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        msg = f"{path} is not an exported program of PyTorch, or is cut short ({error}); {_EXPORT_AGAIN}"
        raise ModelError(msg) from error
    total = sum(member.file_size for member in members)
    packed = next((member.filename for member in members if member.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None or total > _MAX_BYTES or len(members) > _MAX_MEMBERS:
        msg = f"{path} is no archive as PyTorch writes them ({total} bytes in {len(members)} members); {_EXPORT_AGAIN}"
        raise ModelError(msg)
    return data


def _load(data: bytes, path: Path) -> Any:
    import torch

    try:
        _look_through(data, path)
        program = torch.export.load(io.BytesIO(data))
    except ModelError:
        raise
    except Exception as error:
        # The archive's reader and the deserializer raise RuntimeError, KeyError, AssertionError and their own.
        msg = f"{path} cannot be loaded by this PyTorch: {' '.join(str(error).split())[:300]}; {_EXPORT_AGAIN}"
        raise ModelError(msg) from error
    for node in program.graph.nodes:
        if node.op == "call_function" and _as_in_training(node):
            msg = f"{path}: node {node.name!r} is {node.target}, as in training; {_EXPORT_AGAIN}"
            raise ModelError(msg)
    return program


def _look_through(data: bytes, path: Path) -> None:
    import torch
    from torch.export.pt2_archive._package import PT2ArchiveReader

    reader: Any = PT2ArchiveReader(io.BytesIO(data))
    names = set(reader.get_file_names())
    odd = sorted(
        name
        for name in names
        if name.startswith(
            ("data/aotinductor/", "data/executorch/", "data/constants/custom_obj", "data/constants/opaque")
        )
        or (name.startswith("models/") and name != _MODEL)
        or (name.startswith(("data/weights/", "data/constants/")) and name.endswith(".pt"))
    )
    if odd:
        msg = f"{path} holds {odd[0]!r}, which is more than numbers and a graph; it is not opened. Instead {_EXPORT_AGAIN}"
        raise ModelError(msg)
    missing = [name for name in (_MODEL, _SAMPLE_INPUTS, *_CONFIGS) if name not in names]
    if missing:
        msg = f"{path} is not an exported program of this PyTorch: it has no {missing[0]}; {_EXPORT_AGAIN}"
        raise ModelError(msg)
    for config in _CONFIGS:
        for key, entry in json.loads(reader.read_bytes(config))["config"].items():
            if entry["use_pickle"] or not str(entry["path_name"]).startswith(("weight_", "tensor_")):
                msg = f"{path}: {key!r} is pickled, which can run code; it is not opened. Instead {_EXPORT_AGAIN}"
                raise ModelError(msg)
    try:
        torch.load(io.BytesIO(reader.read_bytes(_SAMPLE_INPUTS)), weights_only=True)
    except Exception as error:
        # Whatever it is, PyTorch would go on to unpickle without any check.
        msg = f"{path}: its example input is more than tensors, and can run code; it is not opened. Instead {_EXPORT_AGAIN}"
        raise ModelError(msg) from error
    _check_graph(json.loads(reader.read_bytes(_MODEL)), path)


def _check_graph(model: dict[str, Any], path: Path) -> None:
    # Any of the three means sizes that are not fixed, and text that PyTorch would evaluate.
    if model["range_constraints"] or model["guards_code"] or any("expr_str" in entry for entry in _objects(model)):
        msg = f"{path} has sizes that are open; export it for one picture of one size, without dynamic_shapes"
        raise ModelError(msg)
    for entry in _objects(model):
        target = entry.get("target")
        if isinstance(target, str) and not _is_plain(target):
            kind = "control flow" if "higher_order" in target else "not an operator of PyTorch's own"
            name = entry.get("name") or target
            msg = f"{path}: node {name!r} is {target}, {kind}; rewrite that part, or use an ONNX export of it"
            raise ModelError(msg)
        for key in ("in_spec", "out_spec"):
            if isinstance(entry.get(key), str):
                _check_containers(entry[key], path)


def _is_plain(target: str) -> bool:
    return target.startswith("torch.ops.aten.") or target == "_operator.getitem"


def _check_containers(text: str, path: Path) -> None:
    waiting: list[Any] = [json.loads(text)]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            if "type" in current and current["type"] is not None and current["type"] not in _PLAIN_CONTAINERS:
                msg = f"{path} takes or returns a {current['type']}; let the model return tensors, or a tuple of them"
                raise ModelError(msg)
            waiting += current.values()
        elif isinstance(current, list):
            waiting += current


def _objects(value: object) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            yield current
            waiting += current.values()
        elif isinstance(current, list):
            waiting += current


def _as_in_training(node: Any) -> bool:
    import torch

    aten = torch.ops.aten
    place = {aten.batch_norm.default: 5, aten.dropout.default: 2, aten.native_dropout.default: 2}.get(node.target)
    return place is not None and len(node.args) > place and node.args[place] is True


def _picture_shape(program: Any, where: str) -> tuple[int, ...]:
    import torch

    names = program.graph_signature.user_inputs
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    if len(names) != 1 or not isinstance(values.get(names[0]), torch.Tensor):
        msg = f"{where} has {len(names)} inputs; a model with one picture input is needed"
        raise ModelError(msg)
    picture = values[names[0]]
    if picture.dtype != torch.float32:
        dtype = str(picture.dtype).removeprefix("torch.")
        msg = f"{where}: input {names[0]!r} is {dtype}; only float32 pictures are supported"
        raise ModelError(msg)
    return tuple(int(side) for side in picture.shape)


def _output_names(program: Any) -> tuple[str, ...]:
    """The keys where it returns a dict, the nodes' names otherwise."""
    made = program.call_spec.out_spec
    if made.type is dict and made.num_leaves == len(made.context):
        return tuple(str(key) for key in made.context)
    return tuple(str(name) for name in program.graph_signature.user_outputs)
