/* The profiler half of the stand-in libcupti: two chips, some metrics, and counters that are the number of kernels
   launched in a range, so that a test knows every value. FAKE_RANGE_RESULT is what enabling answers. */
#include <stdlib.h>
#include <string.h>

#include "abi.h"
#include "fake.h"

enum { METRICS = 8, SLOW = 3, RANGES = 64, NAME = 128 };

typedef struct {
    uint32_t wanted[METRICS], wanted_count, passes;
} config_image;

typedef struct {
    uint64_t ranges;
    char names[RANGES][NAME];
    uint64_t launches[RANGES];
} counters_image;

static const char *const chips[] = {"FAKE100", "FAKE200"};
static const char *const base_metrics[METRICS] = {
    "fake__launches", "fake__cycles", "fake__bytes", "fake__slow", "dram__bytes_read", "dram__bytes_write",
    "smsp__sass_thread_inst_executed_op_ffma_pred_on", "sm__warps_active"};
static const char *listed[METRICS];

typedef struct {
    config_image config;
} host;

static struct {
    config_image config;
    counters_image *counters;
    uint32_t pass, open;
    int user;
    size_t max_ranges, ranges;
    char path[NAME];
    uint64_t began[8], dropped;
} profiler;

int cuptiProfilerInitialize(raw_initialize *params)
{
    if (fake_finalized())                                         /* as the real one: only tracing attaches it again */
        return CUPTI_NOT_INITIALIZED;
    return params->size == sizeof *params ? CUPTI_OK : CUPTI_INVALID_PARAMETER;
}

int cuptiProfilerDeInitialize(raw_initialize *params)
{
    (void)params;
    return CUPTI_OK;
}

int cuptiDeviceGetChipName(raw_chip_name *params)
{
    params->chip = chips[0];
    return CUPTI_OK;
}

int cuptiProfilerDeviceSupported(raw_device_supported *params)
{
    params->supported = getenv("FAKE_RANGE_UNSUPPORTED") ? 1 : SUPPORT_YES;
    return CUPTI_OK;
}

int cuptiProfilerGetCounterAvailability(raw_availability *params)
{
    params->image_size = 16;
    if (params->image)
        memset(params->image, 1, 16);
    return CUPTI_OK;
}

int cuptiProfilerHostGetSupportedChips(raw_host_chips *params)
{
    params->count = 2;
    params->names = chips;
    return CUPTI_OK;
}

int cuptiProfilerHostInitialize(raw_host_initialize *params)
{
    if (strcmp(params->chip, chips[0]) != 0 && strcmp(params->chip, chips[1]) != 0)
        return 46;
    params->host = calloc(1, sizeof(host));
    return CUPTI_OK;
}

int cuptiProfilerHostDeinitialize(raw_host_only *params)
{
    free(params->host);
    return CUPTI_OK;
}

int cuptiProfilerHostGetBaseMetrics(raw_host_base_metrics *params)
{
    memcpy(listed, base_metrics, sizeof listed);
    params->names = listed;
    params->count = params->type == 0 ? METRICS : 0;
    return CUPTI_OK;
}

int cuptiProfilerHostGetSubMetrics(raw_host_submetrics *params)
{
    static const char *sums[] = {".sum"};
    params->names = sums;
    params->count = 1;
    return CUPTI_OK;
}

int cuptiProfilerHostGetMetricProperties(raw_host_properties *params)
{
    params->description = "a stand-in";
    return CUPTI_OK;
}

static int metric_index(const char *name)
{
    for (int i = 0; i < METRICS; i++) {
        size_t length = strlen(base_metrics[i]);
        if (strncmp(name, base_metrics[i], length) == 0 &&
            (strcmp(name + length, ".sum") == 0 || strcmp(name + length, ".avg.pct_of_peak_sustained_active") == 0))
            return i;
    }
    return -1;
}

/* One bad name refuses the list, as the real one does. The slow metric takes three passes, all others one together. */
int cuptiProfilerHostConfigAddMetrics(raw_host_add *params)
{
    host *object = params->host;
    for (size_t i = 0; i < params->count; i++)
        if (metric_index(params->names[i]) < 0)
            return 17;
    object->config.passes = 1;
    for (size_t i = 0; i < params->count; i++) {
        int index = metric_index(params->names[i]);
        object->config.wanted[object->config.wanted_count++] = (uint32_t)index;
        if (index == SLOW)
            object->config.passes = 3;
    }
    return CUPTI_OK;
}

int cuptiProfilerHostGetConfigImageSize(raw_host_image_size *params)
{
    params->image_size = sizeof(config_image);
    return CUPTI_OK;
}

int cuptiProfilerHostGetConfigImage(raw_host_image *params)
{
    memcpy(params->image, &((host *)params->host)->config, sizeof(config_image));
    return CUPTI_OK;
}

int cuptiProfilerHostGetNumOfPasses(raw_host_passes *params)
{
    params->passes = ((config_image *)(void *)params->image)->passes;
    return CUPTI_OK;
}

int cuptiProfilerHostEvaluateToGpuValues(raw_host_evaluate *params)
{
    const counters_image *counters = (const void *)params->counters;
    for (size_t i = 0; i < params->count; i++)
        params->values[i] = (double)counters->launches[params->range] * (metric_index(params->names[i]) + 1);
    return CUPTI_OK;
}

int cuptiRangeProfilerEnable(raw_range_enable *params)
{
    const char *result = getenv("FAKE_RANGE_RESULT");
    params->range = &profiler;
    return result ? atoi(result) : CUPTI_OK;
}

int cuptiRangeProfilerDisable(raw_range_only *params)
{
    (void)params;
    return CUPTI_OK;
}

int cuptiRangeProfilerGetCounterDataSize(raw_range_counters_size *params)
{
    params->counters_size = sizeof(counters_image);
    return CUPTI_OK;
}

int cuptiRangeProfilerCounterDataImageInitialize(raw_range_counters_init *params)
{
    memset(params->counters, 0, params->counters_size);
    return CUPTI_OK;
}

int cuptiRangeProfilerSetConfig(raw_range_config *params)
{
    memset(&profiler, 0, sizeof profiler);
    memcpy(&profiler.config, params->config, sizeof profiler.config);
    profiler.counters = (void *)params->counters;
    profiler.user = params->mode == RANGE_USER;
    profiler.max_ranges = params->max_ranges < RANGES ? params->max_ranges : RANGES;
    int fits = profiler.user ? params->replay == REPLAY_USER : params->replay == REPLAY_KERNEL;
    return fits && params->nesting_levels >= 1 ? CUPTI_OK : CUPTI_INVALID_PARAMETER;
}

static void add_range(const char *name, uint64_t launches)
{
    if (profiler.ranges >= profiler.max_ranges) {
        profiler.dropped++;
        return;
    }
    strncpy(profiler.counters->names[profiler.ranges], name, NAME - 1);
    profiler.counters->launches[profiler.ranges++] = launches;
}

int cuptiRangeProfilerStart(raw_range_only *params)
{
    (void)params;
    profiler.ranges = 0;
    profiler.dropped = 0;
    profiler.began[0] = fake_kernels();
    return CUPTI_OK;
}

int cuptiRangeProfilerStop(raw_range_stop *params)
{
    if (!profiler.user)
        for (uint64_t i = profiler.began[0]; i < fake_kernels(); i++)
            add_range("kernel", 1);
    params->complete = !profiler.user || ++profiler.pass >= profiler.config.passes;
    return CUPTI_OK;
}

int cuptiRangeProfilerPushRange(raw_range_push *params)
{
    if (profiler.open)
        strncat(profiler.path, "/", NAME - strlen(profiler.path) - 1);
    strncat(profiler.path, params->name, NAME - strlen(profiler.path) - 1);
    profiler.began[++profiler.open] = fake_kernels();
    return CUPTI_OK;
}

int cuptiRangeProfilerPopRange(raw_range_only *params)
{
    (void)params;
    if (!profiler.open)
        return 7;
    add_range(profiler.path, fake_kernels() - profiler.began[profiler.open--]);
    char *slash = strrchr(profiler.path, '/');
    *(slash ? slash : profiler.path) = '\0';
    return CUPTI_OK;
}

int cuptiRangeProfilerDecodeData(raw_range_decode *params)
{
    params->dropped = profiler.dropped;
    profiler.counters->ranges = profiler.ranges;
    return CUPTI_OK;
}

int cuptiRangeProfilerGetCounterDataInfo(raw_range_info *params)
{
    params->ranges = ((const counters_image *)(const void *)params->counters)->ranges;
    return CUPTI_OK;
}

int cuptiRangeProfilerCounterDataGetRangeInfo(raw_range_name *params)
{
    params->name = ((const counters_image *)(const void *)params->counters)->names[params->index];
    return CUPTI_OK;
}
