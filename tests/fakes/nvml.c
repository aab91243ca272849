/* An NVML with two GPUs, in NVML's own words; what a call gives follows from how often it was called.
   The second GPU has no counter of energy and no clocks, as an old one has none. NO_GPU: nvmlInit fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, DRIVER_NOT_LOADED = 9 };
struct device { int index; };
struct memory { unsigned long long total, free, used; };
struct utilization { unsigned int gpu, memory; };
typedef struct device *device;

static struct device devices[2] = {{0}, {1}};
static unsigned long long millijoules = 1000000;

int nvmlInit_v2(void) { return getenv("NO_GPU") ? DRIVER_NOT_LOADED : SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device *found) { *found = &devices[index]; return SUCCESS; }
int nvmlDeviceGetUUID(device gpu, char *text, unsigned int length) {
  snprintf(text, length, "GPU-%d", gpu->index);
  return SUCCESS;
}
int nvmlDeviceGetName(device gpu, char *text, unsigned int length) {
  snprintf(text, length, "Fake %c100", "AB"[gpu->index]);
  return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(device gpu, struct utilization *rates) {
  rates->gpu = gpu->index ? 0 : 75;
  rates->memory = 5;
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(device gpu, struct memory *memory) {
  memory->total = 80ULL << 30;
  memory->used = 3ULL << 30;
  memory->free = memory->total - memory->used;
  return SUCCESS;
}
int nvmlDeviceGetPowerUsage(device gpu, unsigned int *milliwatts) { *milliwatts = 250500; return SUCCESS; }
int nvmlDeviceGetTotalEnergyConsumption(device gpu, unsigned long long *found) {
  *found = millijoules += 500;
  return gpu->index ? NOT_SUPPORTED : SUCCESS;
}
int nvmlDeviceGetTemperature(device gpu, int sensor, unsigned int *celsius) {
  *celsius = 61;
  return sensor ? NOT_SUPPORTED : SUCCESS;
}
int nvmlDeviceGetClockInfo(device gpu, int clock, unsigned int *megahertz) {
  *megahertz = clock == 1 ? 1980 : clock == 2 ? 2619 : 1;
  return gpu->index ? NOT_SUPPORTED : SUCCESS;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(device gpu, unsigned long long *reasons) {
  *reasons = 0x4 | 0x1; /* the power cap, and that the GPU is idle, which is no slowdown */
  return gpu->index ? NOT_SUPPORTED : SUCCESS;
}
