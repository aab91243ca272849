"""Our prefix structs against the real headers: every CUPTI that is installed, every version of every record.

Looked for in PYCUPTI_CUPTI_INCLUDE (folders joined by ":"), the toolkits in /usr/local and the wheels on the path.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parent.parent / "csrc"

#: Our record: CUPTI's name, the first number it may carry (None: the name alone counts), and fields by CUPTI's name.
RECORDS = {
    "raw_kernel": (
        "CUpti_ActivityKernel",
        8,
        "kind cacheConfig:cache_config sharedMemoryConfig:shared_config registersPerThread:registers start end "
        "completed deviceId:device contextId:context streamId:stream gridX:grid[0] gridY:grid[1] gridZ:grid[2] "
        "blockX:block[0] "
        "blockY:block[1] blockZ:block[2] staticSharedMemory:static_shared dynamicSharedMemory:dynamic_shared "
        "localMemoryPerThread:local_per_thread correlationId:correlation gridId:grid_id name queued submitted "
        "graphNodeId:graph_node graphId:graph",
    ),
    "raw_memcpy": (
        "CUpti_ActivityMemcpy",
        5,
        "kind copyKind:direction srcKind:source_kind dstKind:destination_kind flags bytes start end deviceId:device "
        "contextId:context streamId:stream correlationId:correlation runtimeCorrelationId:runtime_correlation "
        "graphNodeId:graph_node graphId:graph",
    ),
    "raw_memcpy_peer": (
        "CUpti_ActivityMemcpyPtoP",
        4,
        "kind copyKind:direction srcKind:source_kind dstKind:destination_kind flags bytes start end deviceId:device "
        "contextId:context streamId:stream srcDeviceId:source_device dstDeviceId:destination_device "
        "correlationId:correlation graphNodeId:graph_node graphId:graph",
    ),
    "raw_memset": (
        "CUpti_ActivityMemset",
        4,
        "kind value bytes start end deviceId:device contextId:context streamId:stream correlationId:correlation flags "
        "memoryKind:memory_kind graphNodeId:graph_node graphId:graph",
    ),
    "raw_overhead": (
        "CUpti_ActivityOverhead",
        0,
        "kind overheadKind:overhead objectKind:object_kind objectId:object[0] start end correlationId?:correlation",
    ),
    "raw_synchronization": (
        "CUpti_ActivitySynchronization",
        0,
        "kind type start end correlationId:correlation contextId:context streamId:stream cudaEventId:event",
    ),
    "raw_marker": (
        "CUpti_ActivityMarker",
        2,
        "kind flags timestamp id objectKind:object_kind objectId:object[0] name domain",
    ),
    "raw_memory": (
        "CUpti_ActivityMemory",
        2,
        "kind memoryOperationType:operation memoryKind:memory_kind correlationId:correlation address bytes timestamp "
        "PC:program_counter processId:process deviceId:device contextId:context streamId:stream name isAsync:is_async",
    ),
    "raw_call": (
        "CUpti_CallbackData",
        None,
        "callbackSite:site functionName:function functionParams:parameters functionReturnValue:result "
        "symbolName:symbol context contextUid:context_id correlationData:slot correlationId:correlation",
    ),
    "raw_resource": ("CUpti_ResourceData", None, "context resourceHandle:handle resourceDescriptor:descriptor"),
    "raw_graph_node": (
        "CUpti_GraphData",
        None,
        "graph originalGraph:original_graph node originalNode:original_node",
    ),
}

#: Parameter structs of the profiler APIs, from the first version that has them.
PARAMETERS = {
    "raw_initialize": ("CUpti_Profiler_Initialize_Params", "structSize:size pPriv:priv"),
    "raw_chip_name": ("CUpti_Device_GetChipName_Params", "deviceIndex:device pChipName:chip"),
    "raw_availability": (
        "CUpti_Profiler_GetCounterAvailability_Params",
        "ctx:context counterAvailabilityImageSize:image_size pCounterAvailabilityImage:image",
    ),
    "raw_device_supported": (
        "CUpti_Profiler_DeviceSupported_Params",
        "cuDevice:device isSupported:supported architecture sli vGpu:vgpu wsl api",
    ),
    "raw_host_initialize": (
        "CUpti_Profiler_Host_Initialize_Params",
        "profilerType:profiler pChipName:chip pCounterAvailabilityImage:availability pHostObject:host",
    ),
    "raw_host_only": ("CUpti_Profiler_Host_Deinitialize_Params", "pHostObject:host"),
    "raw_host_chips": ("CUpti_Profiler_Host_GetSupportedChips_Params", "numChips:count ppChipNames:names"),
    "raw_host_base_metrics": (
        "CUpti_Profiler_Host_GetBaseMetrics_Params",
        "pHostObject:host metricType:type ppMetricNames:names numMetrics:count",
    ),
    "raw_host_submetrics": (
        "CUpti_Profiler_Host_GetSubMetrics_Params",
        "pHostObject:host metricType:type pMetricName:metric numOfSubmetrics:count ppSubMetrics:names",
    ),
    "raw_host_properties": (
        "CUpti_Profiler_Host_GetMetricProperties_Params",
        "pHostObject:host pMetricName:metric pDescription:description pHwUnit:hardware_unit pDimUnit:dimension "
        "metricType:type",
    ),
    "raw_host_add": (
        "CUpti_Profiler_Host_ConfigAddMetrics_Params",
        "pHostObject:host ppMetricNames:names numMetrics:count",
    ),
    "raw_host_image_size": (
        "CUpti_Profiler_Host_GetConfigImageSize_Params",
        "pHostObject:host configImageSize:image_size",
    ),
    "raw_host_image": (
        "CUpti_Profiler_Host_GetConfigImage_Params",
        "pHostObject:host configImageSize:image_size pConfigImage:image",
    ),
    "raw_host_passes": (
        "CUpti_Profiler_Host_GetNumOfPasses_Params",
        "configImageSize:image_size pConfigImage:image numOfPasses:passes",
    ),
    "raw_host_evaluate": (
        "CUpti_Profiler_Host_EvaluateToGpuValues_Params",
        "pHostObject:host pCounterDataImage:counters counterDataImageSize:counters_size rangeIndex:range "
        "ppMetricNames:names numMetrics:count pMetricValues:values",
    ),
    "raw_range_enable": ("CUpti_RangeProfiler_Enable_Params", "ctx:context pRangeProfilerObject:range"),
    "raw_range_only": ("CUpti_RangeProfiler_Start_Params", "pRangeProfilerObject:range"),
    "raw_range_counters_size": (
        "CUpti_RangeProfiler_GetCounterDataSize_Params",
        "pRangeProfilerObject:range pMetricNames:names numMetrics:count maxNumOfRanges:max_ranges "
        "maxNumRangeTreeNodes:max_nodes counterDataSize:counters_size",
    ),
    "raw_range_counters_init": (
        "CUpti_RangeProfiler_CounterDataImage_Initialize_Params",
        "pRangeProfilerObject:range counterDataSize:counters_size pCounterData:counters",
    ),
    "raw_range_config": (
        "CUpti_RangeProfiler_SetConfig_Params",
        "pRangeProfilerObject:range configSize:config_size pConfig:config counterDataImageSize:counters_size "
        "pCounterDataImage:counters range:mode replayMode:replay maxRangesPerPass:max_ranges "
        "numNestingLevels:nesting_levels minNestingLevel:min_nesting_level passIndex:pass "
        "targetNestingLevel:target_nesting_level",
    ),
    "raw_range_stop": (
        "CUpti_RangeProfiler_Stop_Params",
        "pRangeProfilerObject:range passIndex:pass targetNestingLevel:nesting_level isAllPassSubmitted:complete",
    ),
    "raw_range_push": ("CUpti_RangeProfiler_PushRange_Params", "pRangeProfilerObject:range pRangeName:name"),
    "raw_range_decode": (
        "CUpti_RangeProfiler_DecodeData_Params",
        "pRangeProfilerObject:range numOfRangeDropped:dropped",
    ),
    "raw_range_info": (
        "CUpti_RangeProfiler_GetCounterDataInfo_Params",
        "pCounterDataImage:counters counterDataImageSize:counters_size numTotalRanges:ranges",
    ),
    "raw_range_name": (
        "CUpti_RangeProfiler_CounterData_GetRangeInfo_Params",
        "pCounterDataImage:counters counterDataImageSize:counters_size rangeIndex:index rangeDelimiter:delimiter "
        "rangeName:name",
    ),
}

#: Our constant: CUPTI's.
CONSTANTS = {
    "CUPTI_OUT_OF_MEMORY": "CUPTI_ERROR_OUT_OF_MEMORY",
    "CUPTI_MAX_LIMIT_REACHED": "CUPTI_ERROR_MAX_LIMIT_REACHED",
    "CUPTI_NOT_INITIALIZED": "CUPTI_ERROR_NOT_INITIALIZED",
    "CUPTI_QUEUE_EMPTY": "CUPTI_ERROR_QUEUE_EMPTY",
    "CUPTI_MULTIPLE_SUBSCRIBERS": "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED",
    "CUPTI_UNKNOWN": "CUPTI_ERROR_UNKNOWN",
    "KIND_MEMCPY": "CUPTI_ACTIVITY_KIND_MEMCPY",
    "KIND_MEMSET": "CUPTI_ACTIVITY_KIND_MEMSET",
    "KIND_KERNEL_SERIAL": "CUPTI_ACTIVITY_KIND_KERNEL",
    "KIND_DRIVER": "CUPTI_ACTIVITY_KIND_DRIVER",
    "KIND_RUNTIME": "CUPTI_ACTIVITY_KIND_RUNTIME",
    "KIND_KERNEL": "CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL",
    "KIND_MARKER": "CUPTI_ACTIVITY_KIND_MARKER",
    "KIND_OVERHEAD": "CUPTI_ACTIVITY_KIND_OVERHEAD",
    "KIND_MEMCPY_PEER": "CUPTI_ACTIVITY_KIND_MEMCPY2",
    "KIND_SYNCHRONIZATION": "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION",
    "KIND_MEMORY": "CUPTI_ACTIVITY_KIND_MEMORY2",
    "CALL_ENTERS": "CUPTI_API_ENTER",
    "CALL_EXITS": "CUPTI_API_EXIT",
    "DOMAIN_DRIVER": "CUPTI_CB_DOMAIN_DRIVER_API",
    "DOMAIN_RUNTIME": "CUPTI_CB_DOMAIN_RUNTIME_API",
    "DOMAIN_RESOURCE": "CUPTI_CB_DOMAIN_RESOURCE",
    "RESOURCE_GRAPH_NODE_CREATED": "CUPTI_CBID_RESOURCE_GRAPHNODE_CREATED",
    "RESOURCE_GRAPH_NODE_CLONED": "CUPTI_CBID_RESOURCE_GRAPHNODE_CLONED",
    "ATTRIBUTE_DEVICE_BUFFER_POOL_LIMIT": "CUPTI_ACTIVITY_ATTR_DEVICE_BUFFER_POOL_LIMIT",
    "FLUSH_FORCED": "CUPTI_ACTIVITY_FLAG_FLUSH_FORCED",
}
RANGE_CONSTANTS = {
    "RANGE_AUTO": "CUPTI_AutoRange",
    "RANGE_USER": "CUPTI_UserRange",
    "REPLAY_KERNEL": "CUPTI_KernelReplay",
    "REPLAY_USER": "CUPTI_UserReplay",
    "PROFILER_RANGE": "CUPTI_PROFILER_TYPE_RANGE_PROFILER",
    "SUPPORT_YES": "CUPTI_PROFILER_CONFIGURATION_SUPPORTED",
}


def include_folders(header: str) -> list[Path]:
    """Folders that hold `header`, each once."""
    named = [Path(each) for each in os.environ.get("PYCUPTI_CUPTI_INCLUDE", "").split(":") if each]
    toolkits = sorted(Path("/usr/local").glob("cuda*/include"))
    extras = sorted(Path("/usr/local").glob("cuda*/extras/CUPTI/include"))
    wheels = [
        folder
        for root in sys.path
        for pattern in ("nvidia/*/include", "triton/backends/nvidia/include")
        for folder in sorted(Path(root or ".").glob(pattern))
    ]
    found = [folder for folder in [*named, *toolkits, *extras, *wheels] if (folder / header).is_file()]
    return list({folder.resolve(): folder for folder in found}.values())


def struct_names(text: str, base: str, first: int | None) -> list[str]:
    """Every version of a record that these headers define."""
    found = sorted(set(re.findall(rf"\}}\s*({base}\d*);", text)))
    if first is None:
        return [name for name in found if name == base]
    numbers = {name: int(name[len(base) :] or 0) for name in found}
    return [name for name in found if numbers[name] >= first]


def struct_body(text: str, name: str) -> str:
    end = re.search(rf"\}}\s*{name};", text)
    assert end
    return text[text.rindex("typedef struct", 0, end.start()) : end.start()]


def offset_checks(text: str) -> tuple[list[str], int]:
    lines = []
    versions = 0
    for ours, (base, first, fields) in RECORDS.items():
        names = struct_names(text, base, first)
        assert names, f"no {base} in these headers"
        for theirs in names:
            versions += 1
            for pair in fields.split():
                name, _, our_name = pair.partition(":")
                if name.endswith("?") and name[:-1] not in struct_body(text, theirs):
                    continue
                name = name.rstrip("?")
                lines.append(f"SAME({ours}, {our_name or name}, {theirs}, {name})")
    return lines, versions


def check_source(folder: Path) -> tuple[str, int]:
    text = "".join(path.read_text(errors="replace") for path in sorted(folder.glob("cupti*.h")))
    includes = ["cupti_activity", "cupti_callbacks", "cupti_driver_cbid", "cupti_profiler_target", "cupti_target"]
    lines, _ = offset_checks(text)
    constants = dict(CONSTANTS)
    if (folder / "cupti_range_profiler.h").is_file():
        includes += ["cupti_profiler_host", "cupti_range_profiler"]
        constants |= RANGE_CONSTANTS
        for ours, (theirs, fields) in PARAMETERS.items():
            for pair in fields.split():
                name, _, our_name = pair.partition(":")
                lines.append(f"SAME({ours}, {our_name or name}, {theirs}, {name})")
    if (folder / "cupti_activity_deprecated.h").is_file():
        includes.append("cupti_activity_deprecated")
    lines += [f"EQUAL({ours}, {theirs})" for ours, theirs in constants.items()]
    head = [
        *(f"#include <{name}.h>" for name in dict.fromkeys(includes)),
        "#define SAME(a, b, c, d) _Static_assert(offsetof(a, b) == offsetof(c, d), #c "
        '"." #d); _Static_assert(sizeof(((a *)0)->b) <= sizeof(((c *)0)->d), #c "." #d " size");',
        "#define EQUAL(a, b) _Static_assert((int)(a) == (int)(b), #b);",
        '#undef CUPTI_UNKNOWN\n#include "abi.h"',
    ]
    return "\n".join([*head, *lines, ""]), len(lines)


CUPTI_FOLDERS = include_folders("cupti_activity.h")
CUDA_FOLDERS = include_folders("cuda.h")


@pytest.mark.skipif(not CUPTI_FOLDERS, reason="no CUPTI headers are installed")
@pytest.mark.skipif(not CUDA_FOLDERS, reason="no cuda.h is installed")
@pytest.mark.parametrize("folder", CUPTI_FOLDERS, ids=str)
def test_every_offset_agrees_with_the_headers(folder, tmp_path):
    source, count = check_source(folder)
    assert count > 250 or not (folder / "cupti_range_profiler.h").is_file()
    file = tmp_path / "check.c"
    file.write_text(source)
    # 13.0's profiler host header includes C++'s <string> for nothing: an empty file of that name lets C read it.
    (tmp_path / "string").touch()
    errors = []
    for cuda in [folder, *CUDA_FOLDERS]:
        command = ["gcc", "-std=gnu11", "-fsyntax-only", "-w", f"-I{folder}", f"-I{cuda}", f"-I{CSRC}", f"-I{tmp_path}"]
        done = subprocess.run([*command, str(file)], capture_output=True, text=True)
        if done.returncode == 0:
            return
        errors.append(done.stderr)
        if "static assertion failed" in done.stderr:
            break
    pytest.fail(errors[-1][-3000:])


@pytest.mark.skipif(not CUPTI_FOLDERS, reason="no CUPTI headers are installed")
def test_every_result_code_has_its_words():
    from pycupti.codes import CODES

    for folder in CUPTI_FOLDERS:
        text = "".join(path.read_text(errors="replace") for path in folder.glob("cupti_result.h"))
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        real = {int(code): name for name, code in re.findall(r"CUPTI_ERROR_(\w+)\s*=\s*(\d+)\s*,", text)}
        assert {code: CODES[code].name for code in real} == real
