"""The tensors of a module by name: copied, put back, named by a digest, and as plain arrays."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewright.bundle.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch
    from numpy.typing import NDArray

__all__ = [
    "copies",
    "digest_of",
    "first_not_finite",
    "fits",
    "from_arrays",
    "put_back",
    "size_of",
    "tensors_of",
    "to_arrays",
]

_PLAIN = frozenset({"bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"})
_BY_BYTES = frozenset(
    {"bfloat16", "complex32", "complex64", "complex128", "uint16", "uint32", "uint64"}
    | {"float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"}
)


def tensors_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name, those buffers included that ``state_dict`` leaves out; shared ones once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same values, in memory of their own."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def fits(tensors: Mapping[str, torch.Tensor], module: torch.nn.Module) -> str | None:
    """Why ``put_back`` would not work, None when it would."""
    own, parameters = tensors_of(module), dict(module.named_parameters())
    for name in sorted({*own, *tensors}):
        if name not in own or name not in tensors:
            return f"{name} is only in {'the module' if name in own else 'what was kept'}"
        if tensors[name].dtype != own[name].dtype or (name in parameters and tensors[name].shape != own[name].shape):
            kept, now = (f"{value.dtype} {tuple(value.shape)}" for value in (tensors[name], own[name]))
            return f"{name} was {kept} and is {now}"
    return None


def put_back(tensors: Mapping[str, torch.Tensor], module: torch.nn.Module) -> None:
    """Writes values into the module's own tensors, so that an optimizer goes on knowing them.

    Args:
        tensors: All of the module's, or some, by name.
        module: Whose.
    """
    import torch

    with torch.no_grad():
        for name, own in tensors_of(module).items():
            if name not in tensors:
                continue
            if own.shape == tensors[name].shape:
                own.copy_(tensors[name])
            else:  # a buffer that grew while it trained, such as an observer's
                owner, _, leaf = name.rpartition(".")
                setattr(module.get_submodule(owner), leaf, tensors[name].to(own.device, copy=True))


def first_not_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Name of the first tensor with a value that is not a number, or infinite; None without any."""
    import torch

    for name, tensor in tensors.items():
        if (tensor.is_floating_point() or tensor.is_complex()) and not bool(torch.isfinite(tensor.detach()).all()):
            return name
    return None


def size_of(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of all of them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array, kind = _array(tensors[name])
        digest.update(f"{len(name)} {name} {kind or array.dtype} {tuple(tensors[name].shape)} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def to_arrays(tensors: Mapping[str, torch.Tensor]) -> tuple[dict[str, NDArray[Any]], dict[str, list[Any]]]:
    """As plain arrays.

    Args:
        tensors: By name.

    Returns:
        Arrays by name; and, of those whose type NumPy does not have, the type and the shape: their arrays hold bytes.
    """
    arrays: dict[str, NDArray[Any]] = {}
    kinds: dict[str, list[Any]] = {}
    for name, tensor in tensors.items():
        arrays[name], kind = _array(tensor)
        if kind:
            kinds[name] = [kind, list(tensor.shape)]
    return arrays, kinds


def from_arrays(arrays: Mapping[str, NDArray[Any]], kinds: Mapping[str, list[Any]]) -> dict[str, torch.Tensor]:
    """The inverse of ``to_arrays``.

    Raises:
        IntegrityError: A type that tensors do not have.
        RuntimeError: Bytes that do not fit the shape.
    """
    import torch

    tensors = {}
    for name, array in arrays.items():
        tensor = torch.from_numpy(np.array(array))  # a copy: what was read is read-only
        if name in kinds:
            kind, shape = kinds[name]
            if kind not in _BY_BYTES:
                msg = f"{name} has the unknown type {kind}"
                raise IntegrityError(msg)
            dtype = getattr(torch, kind)
            tensor = (tensor.view(dtype) if len(array) else tensor.to(dtype)).reshape(tuple(shape))
        tensors[name] = tensor
    return tensors


def _array(tensor: torch.Tensor) -> tuple[NDArray[Any], str]:
    import torch

    here = tensor.detach().cpu()
    kind = str(here.dtype).removeprefix("torch.")
    if kind in _PLAIN:
        return here.numpy(), ""
    if not here.numel():
        return np.empty(0, np.uint8), kind
    return here.contiguous().reshape(-1).view(torch.uint8).numpy(), kind
