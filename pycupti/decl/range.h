/* Hardware metrics: the Profiler Host API (planning, evaluation) and the Range Profiler (collection). All return CUPTI's
   result code; -1 when the opened libcupti is older than 12.6 and lacks the function. */

typedef struct pcu_host pcu_host;
typedef struct pcu_range pcu_range;

int pcu_host_chips(const char *const **names, size_t *count);
int pcu_chip_name(size_t device, const char **name);
int pcu_host_open(const char *chip, const uint8_t *availability, pcu_host **out);
void pcu_host_close(pcu_host *host);
int pcu_host_base_metrics(pcu_host *host, int type, const char ***names, size_t *count);
int pcu_host_submetrics(pcu_host *host, int type, const char *metric, const char ***names, size_t *count);
int pcu_host_describe(pcu_host *host, const char *metric, const char **description, int *type);
int pcu_host_add(pcu_host *host, const char **names, size_t count);
/* Sizes of the configuration image, then the image and its number of passes. */
int pcu_host_config_size(pcu_host *host, size_t *size);
int pcu_host_config(pcu_host *host, uint8_t *image, size_t size, size_t *passes);
int pcu_host_evaluate(pcu_host *host, const uint8_t *counters, size_t size, size_t range, const char **names,
                      size_t count, double *values);

/* The context is the current one, else the device's primary one. */
int pcu_context(int device, void **context);
int pcu_range_availability(void *context, uint8_t *image, size_t *size);
int pcu_range_supported(int device, int *supported);
int pcu_range_open(void *context, pcu_range **out);
int pcu_range_close(pcu_range *range);
int pcu_range_counters_size(pcu_range *range, const char **names, size_t count, size_t ranges, size_t *size);
int pcu_range_counters_init(pcu_range *range, uint8_t *counters, size_t size);
/* `user` is 1 for ranges the caller pushes, replayed by the caller; 0 for one range a kernel, replayed by CUPTI. */
int pcu_range_configure(pcu_range *range, const uint8_t *config, size_t config_size, uint8_t *counters,
                        size_t counters_size, size_t ranges, int user, int nesting);
int pcu_range_start(pcu_range *range);
int pcu_range_stop(pcu_range *range, int *complete);
int pcu_range_push(pcu_range *range, const char *name);
int pcu_range_pop(pcu_range *range);
int pcu_range_decode(pcu_range *range, size_t *dropped);
int pcu_range_count(const uint8_t *counters, size_t size, size_t *count);
int pcu_range_name(const uint8_t *counters, size_t size, size_t range, const char **name);
