"""TensorRT's engines, built from ONNX or loaded. Runs in a worker: imports nothing of mlms. TensorRT 10 or later."""

import contextlib
import os
import threading
import time
from types import SimpleNamespace

import numpy as np

INDEX = (
    "its wheels come from NVIDIA's index: set PIP_EXTRA_INDEX_URL (UV_INDEX for uv) to https://pypi.nvidia.com, "
    "then make the environment anew with 'mlms env create tensorrt'"
)
ELSEWHERE = "run it where nvidia-smi lists a GPU, or run the ONNX file with mlms-onnxruntime"
DTYPES = ("float32", "float16")
MIB = 1 << 20


def devices():
    """The NVIDIA GPUs here. Raises ValueError where there are none, saying what is missing."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise ValueError("tensorrt needs the package cuda-python: {}".format(error), INDEX) from error
    try:
        error = driver.cuInit(0)[0]
    except RuntimeError as missing:  # there is no libcuda
        raise ValueError("tensorrt finds no NVIDIA driver here: {}".format(missing), ELSEWHERE) from missing
    if error == driver.CUresult.CUDA_SUCCESS:
        error, count = driver.cuDeviceGetCount()
        if error == driver.CUresult.CUDA_SUCCESS and count:
            return ["cuda:{}".format(index) for index in range(count)]
    raise ValueError("tensorrt finds no NVIDIA GPU here: {}".format(error.name), ELSEWHERE)


def describe():
    return {"version": _tensorrt().__version__, "threads": 1}


def load(model, weights, device, options):
    """``weights`` is a network in ONNX (.onnx), or an engine (.plan, .engine) of this TensorRT and kind of GPU."""
    if weights is None:
        raise ValueError("tensorrt can't make up weights", "give a .onnx, .plan or .engine file: weights: {file: ...}")
    dtype = options.get("dtype", "float32")
    if dtype not in DTYPES:
        raise ValueError("tensorrt computes in {}, not in {}".format(" or ".join(DTYPES), dtype), "use dtype float16")
    if device not in devices():
        raise ValueError("tensorrt has no device '{}' here; it has {}".format(device, ", ".join(devices())), ELSEWHERE)
    trt = _tensorrt()
    cuda = Cuda(int(device.partition(":")[2]))
    engine = _engine(trt, weights, model["inputs"], options, dtype)
    return Model(trt, cuda, engine, model, device, dtype, os.path.getsize(weights))


def _tensorrt():
    try:
        import tensorrt
    except ImportError as error:
        raise ValueError("tensorrt can't be imported: {}".format(error), INDEX) from error
    return tensorrt


def _engine(trt, path, inputs, options, dtype):
    log = Log(trt)
    if path.endswith(".onnx"):
        content = _built(trt, log, path, inputs, options, dtype)
    elif dtype != "float32":
        raise ValueError("{} is built already, so dtype says nothing of it".format(path), "leave dtype at float32")
    else:
        with open(path, "rb") as file:
            content = file.read()
    engine = trt.Runtime(log.log).deserialize_cuda_engine(content)
    if engine is None:
        raise ValueError(
            "{} is no engine for TensorRT {} on this GPU: {}".format(path, trt.__version__, log.last()),
            "engines fit one version and one kind of GPU: build it here, from an .onnx file",
        )
    return engine


def _built(trt, log, path, inputs, options, dtype):
    builder = trt.Builder(log.log)
    network = builder.create_network(0)  # a batch dimension is always explicit
    parser = trt.OnnxParser(network, log.log)
    if not parser.parse_from_file(path):
        said = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors)) or log.last()
        raise ValueError(
            "{} can't be read by TensorRT {}: {}".format(path, trt.__version__, said),
            "check it with onnx.checker, or export it with an older opset",
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.get("workspace_mib", 1024) * MIB)
    config.builder_optimization_level = options.get("optimization_level", 3)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not options.get("tf32", False):
        config.clear_flag(trt.BuilderFlag.TF32)
    if dtype == "float16" or options.get("fp16", False):
        if not hasattr(trt.BuilderFlag, "FP16"):
            raise ValueError(
                "TensorRT {} computes in the types that the ONNX file says".format(trt.__version__),
                "convert the file to float16, or use TensorRT 10",
            )
        config.set_flag(trt.BuilderFlag.FP16)
    config.add_optimization_profile(_profile(builder, network, inputs, options.get("max_batch", 64), path))
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise ValueError(
            "TensorRT {} can't build an engine from {}: {}".format(trt.__version__, path, log.last()),
            "give it more room with the option workspace_mib, or another optimization_level",
        )
    return content


def _profile(builder, network, inputs, largest, path):
    """The range of shapes that the engine is for: batches from 1 to ``largest``, else what the asset says."""
    profile = builder.create_optimization_profile()
    told = {spec["name"]: spec["shape"] for spec in inputs}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        if tensor.name not in told:
            raise ValueError(
                "{} takes '{}'; the asset has {}".format(path, tensor.name, ", ".join(told)),
                "give the model asset's inputs the names of the network's",
            )
        shape = tuple(tensor.shape)
        if -1 not in shape:
            continue
        rest = tuple(told[tensor.name])
        if None in rest:
            raise ValueError("tensorrt needs the sizes of input '{}'".format(tensor.name), "give its whole shape")
        batches = (1, max(1, largest // 2), largest) if shape[0] == -1 else (shape[0],) * 3
        profile.set_shape(tensor.name, *[(batch,) + rest for batch in batches])
    return profile


def Log(trt):
    """What TensorRT says of warnings and errors, kept for messages."""

    class Kept(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)
            self.errors = []

        def log(self, severity, message):
            if severity <= trt.ILogger.ERROR:
                self.errors.append(message)

    kept = Kept()
    return SimpleNamespace(log=kept, last=lambda: kept.errors[-1] if kept.errors else "it gave no reason")


class Cuda:
    """The calls of CUDA's runtime that are needed, on one GPU; each raises what CUDA says."""

    def __init__(self, index):
        from cuda.bindings import runtime

        self._runtime, self._index = runtime, index
        self.use()
        self.stream = self._call("cudaStreamCreate")

    def _call(self, name, *arguments):
        error, *found = getattr(self._runtime, name)(*arguments)
        if error == self._runtime.cudaError_t.cudaErrorMemoryAllocation:
            raise MemoryError("the GPU has no room for {}".format(arguments[0]))
        if error != self._runtime.cudaError_t.cudaSuccess:
            raise RuntimeError("{}: {}".format(name, error.name))
        return found[0] if found else None

    def use(self):
        """CUDA's current device is a thread's own."""
        self._call("cudaSetDevice", self._index)

    def allocate(self, size):
        return self._call("cudaMalloc", max(1, size))

    def free(self, pointer):
        self._call("cudaFree", pointer)

    def to_device(self, pointer, array):
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", pointer, array.ctypes.data, array.nbytes, kind, self.stream)

    def to_host(self, array, pointer):
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, pointer, array.nbytes, kind, self.stream)

    def synchronize(self):
        self._call("cudaStreamSynchronize", self.stream)

    def destroy(self):
        self._call("cudaStreamDestroy", self.stream)


class Model:
    """An engine with one context and one stream; memory on the GPU grows with the largest batch seen."""

    def __init__(self, trt, cuda, engine, model, device, dtype, size):
        self._trt, self._cuda, self._engine = trt, cuda, engine
        self._context = engine.create_execution_context()
        if self._context is None:
            raise MemoryError("the GPU has no room for the engine's activations")
        self._device, self._dtype, self._size = device, dtype, size
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        ins = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in ins]
        self._types = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
        self._inputs = {spec["name"]: tuple(spec["shape"]) for spec in model["inputs"]}
        if set(ins) != set(self._inputs):
            raise ValueError(
                "the engine of model '{}' takes {}; the asset has {}".format(
                    model["name"], ", ".join(ins), ", ".join(self._inputs)
                ),
                "give the model asset's inputs the engine's names",
            )
        self._limits = {name: [tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0)] for name in ins}
        self._memory = {}
        self._peak = engine.device_memory_size_v2
        self._lock = threading.Lock()

    def predict(self, batch):
        self._check(batch)
        with self._lock:
            self._cuda.use()
            kept = []  # what is copied from has to live until the stream is done
            for name in self._inputs:
                array = np.ascontiguousarray(batch[name], self._types[name])
                kept.append(array)
                self._context.set_input_shape(name, array.shape)
                self._cuda.to_device(self._at(name, array.nbytes), array)
            found = {}
            for name in self._outputs:
                found[name] = np.empty(tuple(self._context.get_tensor_shape(name)), self._types[name])
                self._at(name, found[name].nbytes)
            if not self._context.execute_async_v3(int(self._cuda.stream)):
                raise RuntimeError("TensorRT couldn't run the engine")
            for name, array in found.items():
                self._cuda.to_host(array, self._memory[name][0])
            self._cuda.synchronize()
            return found

    def _at(self, name, size):
        """Memory on the GPU for a tensor, made larger where it has to be."""
        pointer, room = self._memory.get(name, (None, 0))
        if pointer is None or size > room:
            if pointer is not None:
                del self._memory[name]  # first, as there may be no larger one
                self._cuda.free(pointer)
                self._peak -= room
            pointer = self._cuda.allocate(size)
            self._memory[name] = pointer, size
            self._peak += size
            self._context.set_tensor_address(name, int(pointer))
        return pointer

    def _check(self, batch):
        for name, shape in self._inputs.items():
            if name not in batch:
                raise ValueError("input '{}' is missing; given are {}".format(name, ", ".join(batch) or "none"))
            given, (least, _, most) = batch[name].shape, self._limits[name]
            if len(given) != len(shape) + 1 or any(b not in (a, None) for a, b in zip(given[1:], shape)):
                raise ValueError(
                    "input '{}' is of shape (batch, {}), not {}".format(name, ", ".join(map(str, shape)), given)
                )
            if not least[0] <= given[0] <= most[0]:
                raise ValueError(
                    "the engine is for batches of {} to {}, not of {}".format(least[0], most[0], given[0]),
                    "build it for larger ones with the option max_batch",
                )

    def describe(self):
        return {"parameters": None, "size_bytes": self._size, "device": self._device, "dtype": self._dtype}

    def device_peak_bytes(self):
        """Activations, inputs and outputs; the engine's own weights are not told by TensorRT."""
        return int(self._peak)

    def close(self):
        with self._lock:
            if self._engine is None:
                return
            self._cuda.use()
            for pointer, _ in self._memory.values():
                self._cuda.free(pointer)
            self._memory.clear()
            self._context = self._engine = None
            self._cuda.destroy()

    @contextlib.contextmanager
    def observe(self, level, batch):
        """A profiler on a context of its own, as one can't be taken off a context again."""
        profiler = _profiler(self._trt)
        with self._lock:
            before, context = self._context, self._engine.create_execution_context()
            if context is None:
                raise MemoryError("TensorRT has no memory for a second context, which the profiler takes")
            self._context = context
            self._readdress()
            context.profiler = profiler
        try:
            self.predict(batch)
            yield Watched(self, profiler)
        finally:
            with self._lock:
                self._context = before
                self._readdress()

    def _readdress(self):
        for name, (pointer, _) in self._memory.items():
            self._context.set_tensor_address(name, int(pointer))

    def inspected(self):
        """The type of each layer, where the engine was built to tell it."""
        import json

        with self._lock:
            inspector = self._engine.create_engine_inspector()
            told = json.loads(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))
        layers = [layer for layer in told.get("Layers", ()) if isinstance(layer, dict)]
        return {layer["Name"]: layer.get("LayerType", "") for layer in layers if "Name" in layer}


def _profiler(trt):
    class Profiler(trt.IProfiler):
        """Called for each layer, in the order of execution, when the prediction's work is done."""

        def __init__(self):
            trt.IProfiler.__init__(self)
            self.layers = []

        def report_layer_time(self, layer_name, ms):
            self.layers.append((layer_name, ms))

    return Profiler()


class Watched:
    """TensorRT gives durations alone: the layers lie one after the other from the prediction's start."""

    def __init__(self, model, profiler):
        self._model, self._profiler, self._taken = model, profiler, []
        self._types = model.inspected()

    def predict(self, batch):
        self._profiler.layers = []
        start = time.perf_counter_ns()
        outputs = self._model.predict(batch)
        spans = []
        for name, ms in self._profiler.layers:
            end = start + int(ms * 1e6)
            attributes = {"mlms.layer.type": self._types[name]} if self._types.get(name) else {}
            spans.append((name, "layer", start, end, attributes))
            start = end
        self._taken.append(spans)
        return outputs

    def take(self):
        taken, self._taken = self._taken, []
        return taken
