"""Datatypes of the protocol, and the tensors of a response as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""By NumPy's name. Besides these there are BYTES, and BF16, which comes as float32."""
DTYPES = {datatype: name for name, datatype in DATATYPES.items()}

CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "UINT64": "uint64_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


def array_of(tensor: Any, raw: bytes | None) -> npt.NDArray[Any]:
    """The array of an output, from its raw bytes or, where these are None, from its list of values.

    Raises:
        ValueError: the values are not those of its datatype and shape.
    """
    datatype, shape = tensor.datatype, tuple(tensor.shape)
    if datatype == "BYTES":
        from tritonclient.utils import deserialize_bytes_tensor

        values = tensor.contents.bytes_contents if raw is None else deserialize_bytes_tensor(raw)
        return np.array(list(values), object).reshape(shape)
    if datatype not in DTYPES and datatype != "BF16":
        raise ValueError(f"there is no datatype '{datatype}'")
    if raw is None:
        if datatype not in CONTENTS:
            raise ValueError(f"{datatype} comes as raw bytes only")
        return np.array(getattr(tensor.contents, CONTENTS[datatype]), DTYPES[datatype]).reshape(shape)
    if datatype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    return np.frombuffer(raw, np.dtype(DTYPES[datatype]).newbyteorder("<")).reshape(shape)
