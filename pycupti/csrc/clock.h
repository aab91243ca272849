/* The wall clock, which is CUPTI's on Linux, read for less than clock_gettime costs in the middle of a program that
   keeps the caches to itself: by the processor's counter, tied to the clock anew every few milliseconds. */
#pragma once

#include <stdint.h>

typedef struct {
    uint64_t ticks, wall_ns;             /* read together */
    uint64_t rate;                       /* ns a tick, times 2^32 */
    uint64_t good_for;                   /* ticks for which these hold; 0 while the rate isn't known */
} wall_clock;

void clock_trust(void);                  /* finds out whether the counter may be used at all */
uint64_t clock_renew(wall_clock *clock);

static inline uint64_t clock_ticks(void)
{
#ifdef __x86_64__
    return __builtin_ia32_rdtsc();
#else
    return 0;
#endif
}

static inline uint64_t clock_read(wall_clock *clock)
{
    uint64_t since = clock_ticks() - clock->ticks;
    return since < clock->good_for ? clock->wall_ns + (since * clock->rate >> 32) : clock_renew(clock);
}
