/* A libcupti that takes the process with it as soon as it is loaded. */
#include <stdlib.h>

__attribute__((constructor)) static void crash(void)
{
    abort();
}
