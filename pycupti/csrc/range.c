/* Thin wrappers over the Profiler Host and Range Profiler functions: each fills one parameter struct. What to do with
   them (planning, passes, replay) is Python's part, off every hot path. */
#include <string.h>

#include "core.h"

#define PARAMS(type, last, ...) type params = {.size = PARAMS_SIZE(type, last), __VA_ARGS__}
#define CALL(name) (cupti.name ? cupti.name(&params) : -1)

static int initialize(void)
{
    PARAMS(raw_initialize, priv, .priv = NULL);
    return CALL(ProfilerInitialize);
}

int pcu_host_chips(const char *const **names, size_t *count)
{
    PARAMS(raw_host_chips, names, .priv = NULL);
    int result = CALL(ProfilerHostGetSupportedChips);
    *names = params.names;
    *count = params.count;
    return result;
}

int pcu_chip_name(size_t device, const char **name)
{
    int result = initialize();
    if (result)
        return result;
    PARAMS(raw_chip_name, chip, .device = device);
    result = CALL(DeviceGetChipName);
    *name = params.chip;
    return result;
}

int pcu_host_open(const char *chip, const uint8_t *availability, pcu_host **out)
{
    PARAMS(raw_host_initialize, host, .profiler = PROFILER_RANGE, .chip = chip, .availability = availability);
    int result = CALL(ProfilerHostInitialize);
    *out = params.host;
    return result;
}

void pcu_host_close(pcu_host *host)
{
    PARAMS(raw_host_only, host, .host = host);
    (void)CALL(ProfilerHostDeinitialize);
}

int pcu_host_base_metrics(pcu_host *host, int type, const char ***names, size_t *count)
{
    PARAMS(raw_host_base_metrics, count, .host = host, .type = type);
    int result = CALL(ProfilerHostGetBaseMetrics);
    *names = params.names;
    *count = params.count;
    return result;
}

int pcu_host_submetrics(pcu_host *host, int type, const char *metric, const char ***names, size_t *count)
{
    PARAMS(raw_host_submetrics, names, .host = host, .type = type, .metric = metric);
    int result = CALL(ProfilerHostGetSubMetrics);
    *names = params.names;
    *count = params.count;
    return result;
}

int pcu_host_describe(pcu_host *host, const char *metric, const char **description, int *type)
{
    PARAMS(raw_host_properties, type, .host = host, .metric = metric);
    int result = CALL(ProfilerHostGetMetricProperties);
    *description = params.description;
    *type = params.type;
    return result;
}

int pcu_host_add(pcu_host *host, const char **names, size_t count)
{
    PARAMS(raw_host_add, count, .host = host, .names = names, .count = count);
    return CALL(ProfilerHostConfigAddMetrics);
}

int pcu_host_config_size(pcu_host *host, size_t *size)
{
    PARAMS(raw_host_image_size, image_size, .host = host);
    int result = CALL(ProfilerHostGetConfigImageSize);
    *size = params.image_size;
    return result;
}

static int count_passes(uint8_t *image, size_t size, size_t *passes)
{
    PARAMS(raw_host_passes, passes, .image_size = size, .image = image);
    int result = CALL(ProfilerHostGetNumOfPasses);
    *passes = params.passes;
    return result;
}

int pcu_host_config(pcu_host *host, uint8_t *image, size_t size, size_t *passes)
{
    PARAMS(raw_host_image, image, .host = host, .image_size = size, .image = image);
    int result = CALL(ProfilerHostGetConfigImage);
    return result ? result : count_passes(image, size, passes);
}

int pcu_host_evaluate(pcu_host *host, const uint8_t *counters, size_t size, size_t range, const char **names,
                      size_t count, double *values)
{
    PARAMS(raw_host_evaluate, values, .host = host, .counters = counters, .counters_size = size, .range = range,
           .names = names, .count = count, .values = values);
    return CALL(ProfilerHostEvaluateToGpuValues);
}

int pcu_range_supported(int device, int *supported)
{
    int result = initialize();
    if (result)
        return result;
    PARAMS(raw_device_supported, api, .device = device);
    result = CALL(ProfilerDeviceSupported);
    *supported = params.supported == SUPPORT_YES;
    return result;
}

int pcu_range_availability(void *context, uint8_t *image, size_t *size)
{
    PARAMS(raw_availability, image, .context = context, .image_size = *size, .image = image);
    int result = CALL(ProfilerGetCounterAvailability);
    *size = params.image_size;
    return result;
}

int pcu_range_open(void *context, pcu_range **out)
{
    PARAMS(raw_range_enable, range, .context = context);
    int result = CALL(RangeProfilerEnable);
    *out = params.range;
    return result;
}

int pcu_range_close(pcu_range *range)
{
    PARAMS(raw_range_only, range, .range = range);
    return CALL(RangeProfilerDisable);
}

int pcu_range_counters_size(pcu_range *range, const char **names, size_t count, size_t ranges, size_t *size)
{
    PARAMS(raw_range_counters_size, counters_size, .range = range, .names = names, .count = count,
           .max_ranges = ranges, .max_nodes = (uint32_t)ranges);
    int result = CALL(RangeProfilerGetCounterDataSize);
    *size = params.counters_size;
    return result;
}

int pcu_range_counters_init(pcu_range *range, uint8_t *counters, size_t size)
{
    PARAMS(raw_range_counters_init, counters, .range = range, .counters_size = size, .counters = counters);
    return CALL(RangeProfilerCounterDataImageInitialize);
}

int pcu_range_configure(pcu_range *range, const uint8_t *config, size_t config_size, uint8_t *counters,
                        size_t counters_size, size_t ranges, int user, int nesting)
{
    PARAMS(raw_range_config, target_nesting_level, .range = range, .config_size = config_size, .config = config,
           .counters_size = counters_size, .counters = counters, .mode = user ? RANGE_USER : RANGE_AUTO,
           .replay = user ? REPLAY_USER : REPLAY_KERNEL, .max_ranges = ranges, .nesting_levels = (uint16_t)nesting,
           .min_nesting_level = 1, .pass = 0, .target_nesting_level = user ? 1 : 0);
    return CALL(RangeProfilerSetConfig);
}

int pcu_range_start(pcu_range *range)
{
    PARAMS(raw_range_only, range, .range = range);
    return CALL(RangeProfilerStart);
}

int pcu_range_stop(pcu_range *range, int *complete)
{
    PARAMS(raw_range_stop, complete, .range = range);
    int result = CALL(RangeProfilerStop);
    *complete = params.complete;
    return result;
}

int pcu_range_push(pcu_range *range, const char *name)
{
    PARAMS(raw_range_push, name, .range = range, .name = name);
    return CALL(RangeProfilerPushRange);
}

int pcu_range_pop(pcu_range *range)
{
    PARAMS(raw_range_only, range, .range = range);
    return CALL(RangeProfilerPopRange);
}

int pcu_range_decode(pcu_range *range, size_t *dropped)
{
    PARAMS(raw_range_decode, dropped, .range = range);
    int result = CALL(RangeProfilerDecodeData);
    *dropped = params.dropped;
    return result;
}

int pcu_range_count(const uint8_t *counters, size_t size, size_t *count)
{
    PARAMS(raw_range_info, ranges, .counters = counters, .counters_size = size);
    int result = CALL(RangeProfilerGetCounterDataInfo);
    *count = params.ranges;
    return result;
}

int pcu_range_name(const uint8_t *counters, size_t size, size_t range, const char **name)
{
    PARAMS(raw_range_name, name, .counters = counters, .counters_size = size, .index = range, .delimiter = "/");
    int result = CALL(RangeProfilerCounterDataGetRangeInfo);
    *name = params.name;
    return result;
}
