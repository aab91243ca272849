/* Ties a thread's wall clock to the processor's counter. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"

#ifndef CLOCK_SOURCE
#define CLOCK_SOURCE "/sys/devices/system/clocksource/clocksource0/current_clocksource"
#endif

/* A rate comes from HOLD_NS or more, and serves as long: what both readings are off by, some 30 ns, is then all that
   a time is off by. Past STALE_NS the clock may have been set meanwhile, or the machine have slept. */
enum { HOLD_NS = 10000000, STALE_NS = 1000000000, PROMPT_TICKS = 2048 };

static atomic_int trusted;

/* The kernel keeps time by the counter only where it is even and the same on all processors, and watches that. */
void clock_trust(void)
{
    char source[8] = "";
    FILE *file = fopen(CLOCK_SOURCE, "re");
    if (!file)
        return;
    if (!fgets(source, sizeof source, file))
        source[0] = '\0';
    fclose(file);
    atomic_store(&trusted, strcmp(source, "tsc\n") == 0);
}

uint64_t clock_renew(wall_clock *clock)
{
    struct timespec time;
    uint64_t ticks = clock_ticks();
    clock_gettime(CLOCK_REALTIME, &time);
    uint64_t took = clock_ticks() - ticks;
    uint64_t wall_ns = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
    if (took > PROMPT_TICKS)             /* the thread was taken off its processor in between */
        return wall_ns;
    uint64_t ns = wall_ns - clock->wall_ns, passed = ticks - clock->ticks;
    if (ns < HOLD_NS && !clock->good_for)
        return wall_ns;
    int known = atomic_load(&trusted) && ns < STALE_NS && passed > 0;
    uint64_t rate = known ? (ns << 32) / passed : 0;
    *clock = (wall_clock){
        .ticks = ticks,
        .wall_ns = wall_ns,
        .rate = rate,
        .good_for = rate ? ((uint64_t)HOLD_NS << 32) / rate : 0,
    };
    return wall_ns;
}
