/* Finding out what this machine has. Every function returns 0 or a CUDA or CUPTI result code unless it says otherwise. */

typedef struct {
    int found;            /* the driver library could be opened */
    int result;           /* what cuInit and the device count answered */
    int version;          /* CUDA version the driver supports, 1000 * major + 10 * minor */
    int devices;
    char message[256];    /* the dynamic loader's words when it could not be opened */
} pcu_driver;

/* Opens libcuda and initialises it; answers are kept once it has worked. */
void pcu_driver_probe(const char *path, pcu_driver *out);
int pcu_device_name(int device, char *name, int size);
int pcu_device_synchronize(void);

/* The libcupti that is in this process already: its path, or NULL. `index` counts from 0. */
const char *pcu_loaded_cupti(int index);

/* Opens libcupti and fills the table of functions: 0, or -1 with the reason in `message`. Calls nothing in it. */
int pcu_cupti_open(const char *path, char *message, int size);
int pcu_cupti_version(uint32_t *version);
const char *pcu_call_name(uint32_t domain, uint32_t function);
