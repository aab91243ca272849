"""CUPTI's result codes: what each means here, and the mend."""

from typing import NamedTuple


class Code(NamedTuple):
    """A result code's short name, meaning, and mend (empty when there is none but to report it)."""

    name: str
    meaning: str
    mend: str


_REPORT = "this is a bug in pycupti or CUPTI: please report it with the output of `python -m pycupti doctor`"
_LEGACY = "this belongs to CUPTI's retired event and metric API, which pycupti never calls; please report it"
_UNIFIED = "leave unified-memory counters off; pycupti doesn't enable them itself"

#: Lifts the restriction on hardware counters.
LIFT_RESTRICTION = (
    "run as root, or with CAP_SYS_ADMIN (docker: --cap-add=SYS_ADMIN), or have the administrator load the driver "
    "with `options nvidia NVreg_RestrictProfilingToAdminUsers=0` and reboot; tracing works without it"
)

CODES: dict[int, Code] = {
    1: Code("INVALID_PARAMETER", "CUPTI refused an argument", _REPORT),
    2: Code("INVALID_DEVICE", "no such device", "check the device index against CUDA_VISIBLE_DEVICES"),
    3: Code("INVALID_CONTEXT", "the CUDA context isn't valid", "create the context (any CUDA call) before this one"),
    4: Code("INVALID_EVENT_DOMAIN_ID", "unknown event domain", _LEGACY),
    5: Code("INVALID_EVENT_ID", "unknown event", _LEGACY),
    6: Code("INVALID_EVENT_NAME", "unknown event name", _LEGACY),
    7: Code(
        "INVALID_OPERATION",
        "the call isn't allowed in CUPTI's present state",
        "don't trace and collect metrics at the same time, and close one before starting the other",
    ),
    8: Code("OUT_OF_MEMORY", "host or device memory ran out", "use fewer or smaller buffers, or free device memory"),
    9: Code("HARDWARE", "the performance hardware reported an error", "try again; if it stays, look at `dmesg`"),
    10: Code("PARAMETER_SIZE_NOT_SUFFICIENT", "an output buffer was too small", _REPORT),
    11: Code("API_NOT_IMPLEMENTED", "this libcupti doesn't have the function", "install a newer CUPTI"),
    12: Code(
        "MAX_LIMIT_REACHED",
        "a limit of CUPTI was reached",
        "ask for fewer metrics or ranges, or nest fewer spans",
    ),
    13: Code("NOT_READY", "CUPTI isn't ready for this call", "call it after the device has been synchronised"),
    14: Code(
        "NOT_COMPATIBLE",
        "libcupti doesn't fit the driver or another part of CUDA",
        "install the libcupti of the CUDA version in use",
    ),
    15: Code(
        "NOT_INITIALIZED",
        "CUPTI couldn't initialise, most often because the driver is older than this libcupti needs",
        "update the NVIDIA driver, or point PYCUPTI_LIBCUPTI at the libcupti of the CUDA version it supports",
    ),
    16: Code("INVALID_METRIC_ID", "unknown metric", _LEGACY),
    17: Code(
        "INVALID_METRIC_NAME",
        "this chip has no metric of that name",
        "list the names with pycupti.metrics.available(chip)",
    ),
    18: Code("QUEUE_EMPTY", "a span was closed that had not been opened on this thread", "balance push and pop"),
    19: Code("INVALID_HANDLE", "a handle isn't valid any more", _REPORT),
    20: Code("INVALID_STREAM", "the CUDA stream isn't valid", _REPORT),
    21: Code("INVALID_KIND", "this libcupti doesn't know that kind of activity", "leave the kind out"),
    22: Code("INVALID_EVENT_VALUE", "an event's value isn't valid", _LEGACY),
    23: Code(
        "DISABLED",
        "CUPTI is disabled here, for example because another profiler was injected into the process",
        "run without the other profiler",
    ),
    24: Code("INVALID_MODULE", "the CUDA module isn't valid", _REPORT),
    25: Code("INVALID_METRIC_VALUE", "a metric's value isn't valid", _LEGACY),
    26: Code(
        "HARDWARE_BUSY",
        "the performance counters are taken by another client, often DCGM or another profiler",
        "stop it, or pause DCGM with `dcgmi profmon --pause` (and --resume later); tracing works meanwhile",
    ),
    27: Code("NOT_SUPPORTED", "this device or driver doesn't support it", "leave the feature out on this machine"),
    28: Code("UM_PROFILING_NOT_SUPPORTED", "unified-memory profiling isn't supported", _UNIFIED),
    29: Code("UM_PROFILING_NOT_SUPPORTED_ON_DEVICE", "the device can't profile unified memory", _UNIFIED),
    30: Code("UM_PROFILING_NOT_SUPPORTED_ON_NON_P2P_DEVICES", "devices without peer access can't", _UNIFIED),
    31: Code("UM_PROFILING_NOT_SUPPORTED_WITH_MPS", "unified-memory profiling doesn't work under MPS", _UNIFIED),
    32: Code(
        "CDP_TRACING_NOT_SUPPORTED",
        "kernels launched by kernels can't be traced here",
        "trace with Kind.KERNEL, which leaves them out",
    ),
    33: Code(
        "VIRTUALIZED_DEVICE_NOT_SUPPORTED",
        "this virtual GPU doesn't offer profiling",
        "use a bare-metal GPU, or ask the administrator for a vGPU profile with profiling",
    ),
    34: Code("CUDA_COMPILER_NOT_COMPATIBLE", "the program's compiler doesn't fit", "rebuild with this CUDA's nvcc"),
    35: Code("INSUFFICIENT_PRIVILEGES", "hardware counters are restricted to administrators", LIFT_RESTRICTION),
    36: Code(
        "OLD_PROFILER_API_INITIALIZED",
        "the retired profiling API is in use in this process",
        "stop the tool that uses it",
    ),
    37: Code("OPENACC_UNDEFINED_ROUTINE", "an OpenACC routine is missing", _REPORT),
    38: Code(
        "LEGACY_PROFILER_NOT_SUPPORTED",
        "the device only has the newer profiling API",
        "use a libcupti of CUDA 12.6 or later for metrics",
    ),
    39: Code(
        "MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED",
        "another tool in this process is using CUPTI already",
        "stop torch.profiler, Nsight Systems, Nsight Compute or compute-sanitizer; CUPTI serves one client a process",
    ),
    40: Code(
        "VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES",
        "this virtual GPU may not use hardware counters",
        "have the hypervisor's administrator enable profiling for the vGPU; tracing works without it",
    ),
    41: Code(
        "CONFIDENTIAL_COMPUTING_NOT_SUPPORTED",
        "hardware counters are off in confidential-computing mode",
        "use a GPU that isn't in that mode",
    ),
    42: Code("CMP_DEVICE_NOT_SUPPORTED", "crypto-mining GPUs have no profiling", "use another GPU"),
    43: Code(
        "MIG_DEVICE_NOT_SUPPORTED",
        "hardware counters aren't available on this MIG slice",
        "use the whole GPU, or a newer driver; tracing works",
    ),
    44: Code("SLI_DEVICE_NOT_SUPPORTED", "GPUs joined by SLI have no profiling", "switch SLI off"),
    45: Code("WSL_DEVICE_NOT_SUPPORTED", "this GPU can't be profiled under WSL", "run on Linux, or update WSL"),
    46: Code("INVALID_CHIP_NAME", "no such chip", "list them with pycupti.metrics.chips(); names are upper case"),
    47: Code("HES_TRACE_NOT_SUPPORTED_ON_MPS", "hardware event tracing doesn't work under MPS", "switch it off"),
    999: Code(
        "UNKNOWN",
        "CUPTI failed without a reason, which is what it answers when no driver works",
        "run `python -m pycupti doctor`",
    ),
}

UNKNOWN_CODE = Code("UNRECOGNISED", "a result code newer than this package", "update pycupti")
