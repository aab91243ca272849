"""The serving module: ONNX models in ONNX Runtime (see ``mlms.serving.contract``)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from . import cuda
from .model_file import ModelFile, count_flops, read
from .profile import clock_of, spans_of

Arrays = Mapping[str, npt.NDArray[np.generic]]

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
ON_CUDA = (CUDA, "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")
LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    **{f"tensor({name})": name for name in ("bool", "int8", "int16", "int32", "int64")},
    **{f"tensor({name})": name for name in ("uint8", "uint16", "uint32", "uint64")},
}
HELD_EVENTS = 100_000
"""Of a profile; ONNX Runtime keeps them in memory, about 1 KB each, and drops those past its millionth."""


def devices() -> list[str]:
    """GPUs, where ONNX Runtime was built for CUDA, before the CPU."""
    gpus = cuda.count() if CUDA in ort.get_available_providers() else 0
    return [*(f"cuda:{index}" for index in range(gpus)), "cpu"]


def describe() -> dict[str, Any]:
    """``threads`` are the processors at hand; a model's own are in its facts where they were asked for."""
    return {"version": ort.__version__, "threads": os.cpu_count(), "providers": ort.get_available_providers()}


def load(model: Mapping[str, Any], weights: str | None, device: str, options: Mapping[str, Any]) -> Model:
    if weights is None:
        raise ValueError("an ONNX model has its weights in its file", "name the file: weights: {file: model.onnx}")
    file = read(Path(weights))
    if options["dtype"] != file.dtype:
        raise ValueError(
            f"{weights} computes in {file.dtype}, not in {options['dtype']}",
            f"ask for dtype {file.dtype}, or convert the file",
        )
    if device.startswith("cuda") and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN of pip's packages, which the loader doesn't look for
    loaded = Model(file, model.get("files", {}), device, options)
    loaded.check_inputs(model["inputs"])
    return loaded


class Model:
    """An ONNX model in a session."""

    def __init__(self, file: ModelFile, files: Mapping[str, str], device: str, options: Mapping[str, Any]) -> None:
        self._file, self._device, self._options = file, device, options
        self._providers = _providers(device, options)
        self._external = _external(file, files)
        self._session: ort.InferenceSession | None = self.session()
        self._outputs = [output.name for output in self._session.get_outputs()]

    def session(self, profile: str | None = None) -> ort.InferenceSession:
        """Another session of the model, profiled into files whose names begin with ``profile``."""
        settings = _settings(self._options)
        external = [Path(path).read_bytes() for path in self._external.values()]
        if external:  # read while the session is made, so they have to be there until then
            sizes = [len(content) for content in external]
            settings.add_external_initializers_from_files_in_memory(list(self._external), external, sizes)
        if profile is not None:
            settings.enable_profiling = True
            settings.profile_file_prefix = profile
        try:
            session = ort.InferenceSession(str(self._file.path), settings, providers=self._providers)
        except Exception as error:  # ONNX Runtime's errors have no class in common but this
            raise _explained(error, self._file.path) from error
        del external
        wanted = self._providers[0][0]
        if wanted not in session.get_providers():
            raise ValueError(
                f"ONNX Runtime has {wanted} but couldn't start it, and would run {self._file.path.name} without",
                "install what it needs, for CUDA with: pip install 'onnxruntime-gpu[cuda,cudnn]'",
            )
        return session

    def check_inputs(self, specs: Sequence[Mapping[str, Any]]) -> None:
        """Raises ValueError where the asset's inputs are not the file's."""
        assert self._session is not None
        found = {value.name: value for value in self._session.get_inputs()}
        if set(found) != {spec["name"] for spec in specs}:
            raise ValueError(
                f"{self._file.path.name} has the inputs {', '.join(found)}, but the model asset "
                f"{', '.join(spec['name'] for spec in specs)}",
                "name the file's inputs in the model asset",
            )
        for spec in specs:
            value = found[spec["name"]]
            dtype = DTYPES.get(value.type, value.type)
            if not _fits(value.shape, [None, *spec["shape"]]) or dtype != spec["dtype"]:
                raise ValueError(
                    f"input '{value.name}' of {self._file.path.name} is {dtype} of shape {value.shape}, batch first, "
                    f"but {spec['dtype']} of shape {list(spec['shape'])} a sample in the model asset",
                    "state the file's type and shape in the model asset",
                )

    def predict(self, batch: Arrays) -> dict[str, Any]:
        return self.run(self._session, batch)

    def run(self, session: Any, batch: Arrays) -> dict[str, Any]:
        """Predict in one of the model's sessions; it may be done in several threads at once."""
        try:
            return dict(zip(self._outputs, session.run(self._outputs, batch), strict=True))
        except Exception as error:  # ONNX Runtime's errors have no class in common but this
            raise _failure(error, session, batch) from error

    def describe(self) -> dict[str, Any]:
        facts = {
            "parameters": self._file.parameters,
            "size_bytes": self._file.size_bytes,
            "device": self._device,
            "dtype": self._file.dtype,
            "providers": [name for name, _ in self._providers],
        }
        if self._options.get("threads"):
            facts["threads"] = self._options["threads"]
        if self._device.startswith("cuda"):
            facts["device_uuid"] = cuda.device_uuid(int(self._device.rpartition(":")[2]))
        return facts

    def flops(self, batch: Arrays) -> int | None:
        return count_flops(self._file.path, batch)

    @contextmanager
    def observe(self, level: str, batch: Arrays) -> Iterator[Watched]:
        with TemporaryDirectory(prefix="mlms-onnxruntime-") as folder:
            watched = Watched(self, level, batch, folder, predictions=HELD_EVENTS // (self._file.nodes + 2) + 1)
            try:
                yield watched
            finally:
                watched.end()

    def close(self) -> None:
        self._session = None
        self._external = {}


class Watched:
    """A model in profiled sessions: a new one every so many ``predictions``, before its profile outgrows memory.

    A profile can be read once its session has ended, so spans come late, and in order.
    """

    def __init__(self, model: Model, level: str, batch: Arrays, folder: str, predictions: int) -> None:
        self._model, self._level = model, level
        self._batch = {
            name: np.array(values) for name, values in batch.items()
        }  # the caller's lives as long as its call
        self._folder, self._predictions = folder, predictions
        self._spans: list[list[Any]] = []
        self._start()

    def _start(self) -> None:
        self._session: Any = self._model.session(profile=f"{self._folder}/profile")
        self._clock = clock_of(self._session)
        self._model.run(self._session, self._batch)  # a session's first prediction is slower than all others
        self._anchors: list[tuple[int, int]] = []
        self._answered: list[int] = []
        """Positions of the anchors whose predictions didn't fail."""

    def predict(self, batch: Arrays) -> dict[str, Any]:
        self._anchors.append((perf_counter_ns(), self._clock()))
        outputs = self._model.run(self._session, batch)
        self._answered.append(len(self._anchors) - 1)
        return outputs

    def take(self) -> list[list[Any]]:
        if len(self._anchors) >= self._predictions:
            self.end()
            self._start()
        taken, self._spans = self._spans, []
        return taken

    def end(self) -> None:
        """End the session and read its profile."""
        start = self._session.get_profiling_start_time_ns()
        path = Path(self._session.end_profiling())
        self._session = None
        found = spans_of(path, start, self._anchors, self._level)
        self._spans += [found[position] for position in self._answered]
        path.unlink()


def _providers(device: str, options: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The execution providers with their options, in the order that they are asked in."""
    on_cuda = device.startswith("cuda")
    names = list(options.get("providers") or [CUDA if on_cuda else CPU])
    available = ort.get_available_providers()
    for name in names:
        if name not in available:
            raise ValueError(f"this ONNX Runtime has no {name}", f"it has {', '.join(available)}")
        if name in ON_CUDA and not on_cuda:
            raise ValueError(f"{name} doesn't run on device cpu", "ask for device cuda, or leave the provider out")
    if on_cuda and not set(names) & set(ON_CUDA):
        raise ValueError(f"none of {', '.join(names)} runs on device {device}", f"add {CUDA}, or ask for device cpu")
    names += [CPU] * (CPU not in names)
    given = options.get("provider_options", {})
    if unknown := set(given) - set(names):
        raise ValueError(f"provider_options for {', '.join(sorted(unknown))}, which isn't used", "name it in providers")
    index = {"device_id": int(device.rpartition(":")[2])} if on_cuda else {}
    return [(name, {**(index if name in ON_CUDA else {}), **given.get(name, {})}) for name in names]


def _settings(options: Mapping[str, Any]) -> ort.SessionOptions:
    settings = ort.SessionOptions()
    level = LEVELS[options.get("graph_optimization_level", "all")]
    if not hasattr(ort.GraphOptimizationLevel, level):
        raise ValueError(f"ONNX Runtime {ort.__version__} has no {level}", "use another graph_optimization_level")
    settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    parallel = options.get("execution_mode") == "parallel"
    settings.execution_mode = ort.ExecutionMode.ORT_PARALLEL if parallel else ort.ExecutionMode.ORT_SEQUENTIAL
    settings.intra_op_num_threads = options.get("threads") or 0
    settings.inter_op_num_threads = options.get("inter_op_threads", 0)
    for key, value in options.get("session_config", {}).items():
        settings.add_session_config_entry(key, value)
    return settings


def _external(file: ModelFile, files: Mapping[str, str]) -> dict[str, str]:
    """Paths by the name that the model has for them, of those external data files that don't lie where it says.

    A downloaded file's name has its digest in front.
    """
    away = {}
    for location in file.external:
        if (file.path.parent / location).is_file():
            continue
        name = Path(location).name
        matching = [
            path for path in files.values() if re.fullmatch(rf"([0-9a-f]+-)?{re.escape(name)}", Path(path).name)
        ]
        if not matching:
            raise ValueError(
                f"{file.path} has initializers in the file '{location}', which is not there",
                f"put it beside the model, or name it in the model asset: files: {{data: {{file: {name}}}}}",
            )
        away[location] = matching[0]
    if away and not hasattr(ort.SessionOptions, "add_external_initializers_from_files_in_memory"):
        raise ValueError(
            f"ONNX Runtime {ort.__version__} takes external data from beside the model only",
            f"put {', '.join(away)} into {file.path.parent}, or use ONNX Runtime 1.18 or later",
        )
    return away


def _fits(expected: Sequence[Any], given: Sequence[int | None]) -> bool:
    """Whether a shape may be that of an input; what isn't a number is a free dimension."""
    return len(expected) == len(given) and all(
        theirs == ours or not isinstance(theirs, int) or ours is None
        for theirs, ours in zip(expected, given, strict=True)
    )


def _failure(error: Exception, session: ort.InferenceSession, batch: Arrays) -> Exception:
    """What a failed prediction says to the user."""
    if "allocate memory" in str(error):
        return MemoryError(str(error))
    for value in session.get_inputs():
        if value.name in batch and not _fits(value.shape, batch[value.name].shape):
            given = list(batch[value.name].shape)
            return ValueError(f"input '{value.name}' takes the shape {value.shape}, but was given {given}")
    return error


def _explained(error: Exception, path: Path) -> Exception:
    """What ONNX Runtime says when it refuses a model, in words for the user."""
    message = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .* failed:)?", "", str(error)).strip()
    if "bad_alloc" in message or "allocate memory" in message:
        return MemoryError(message)
    if found := re.search(r"Opset (\d+) is under development.* domain (\S+) is till opset (\d+)", message, re.DOTALL):
        version, domain, most = found.groups()
        return ValueError(
            f"{path} is of opset {version} of {domain}, but ONNX Runtime {ort.__version__} takes {most} at most",
            f"export it with opset {most}, or use a later ONNX Runtime",
        )
    if found := re.search(r"model IR version: (\d+), max supported IR version: (\d+)", message):
        version, most = found.groups()
        return ValueError(
            f"{path} is of IR version {version}, but ONNX Runtime {ort.__version__} takes {most} at most",
            f"save it with ir_version {most}, or use a later ONNX Runtime",
        )
    return ValueError(f"ONNX Runtime {ort.__version__} can't load {path}: {message}", "mend or export the model again")
