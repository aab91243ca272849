/* Clocks that a program can put forward: what a prediction of a test is said to take passes at once and exactly.
 *
 * Preloaded (LD_PRELOAD), it stands before the C library: every clock of the process, LoadGen's and Python's alike,
 * shows the real time and what was added. Waits until a moment are the kernel's, which knows nothing of that, and are put
 * right. Linux with the GNU C library. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#define SECOND 1000000000LL

static _Atomic long long forward, set;

/* Let so many nanoseconds have passed. */
void put_clocks_forward(long long nanoseconds) { atomic_fetch_add(&forward, nanoseconds); }

/* Set the system's clock by so many nanoseconds, as a time service does; the others go on. */
void set_system_clock(long long nanoseconds) { atomic_fetch_add(&set, nanoseconds); }

/* The C library's own, of the version that programs are linked with where there are several. */
static void *own(const char *name, const char *version) {
    void *found = version ? dlvsym(RTLD_NEXT, name, version) : NULL;
    return found ? found : dlsym(RTLD_NEXT, name);
}

static long long actual_time(clockid_t clock) {
    static int (*_Atomic actual)(clockid_t, struct timespec *);
    if (!actual)
        actual = own("clock_gettime", NULL);
    struct timespec time;
    return actual(clock, &time) ? -1 : time.tv_sec * SECOND + time.tv_nsec;
}

static long long shown_time(clockid_t clock) {
    long long time = actual_time(clock);
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return time + forward + set;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        return time + forward;
    default: /* time of a processor */
        return time;
    }
}

/* The moment of the actual clock that is as far from now as this one is by the clock that is shown. */
static struct timespec actually(clockid_t clock, const struct timespec *until) {
    long long moment = until->tv_sec * SECOND + until->tv_nsec - shown_time(clock) + actual_time(clock);
    return (struct timespec){.tv_sec = moment / SECOND, .tv_nsec = moment % SECOND};
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long long shown = shown_time(clock);
    if (shown < 0)
        return errno = EINVAL, -1;
    *time = (struct timespec){.tv_sec = shown / SECOND, .tv_nsec = shown % SECOND};
    return 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    static int (*_Atomic actual)(clockid_t, int, const struct timespec *, struct timespec *);
    if (!actual)
        actual = own("clock_nanosleep", NULL);
    struct timespec moment = flags & TIMER_ABSTIME ? actually(clock, until) : *until;
    return actual(clock, flags, &moment, left);
}

/* Its clock is either; only the system's counts more than thirty years. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*_Atomic actual)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!actual)
        actual = own("pthread_cond_timedwait", "GLIBC_2.3.2");
    struct timespec moment = actually(until->tv_sec > 1000000000 ? CLOCK_REALTIME : CLOCK_MONOTONIC, until);
    return actual(condition, mutex, &moment);
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *until) {
    static int (*_Atomic actual)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    if (!actual)
        actual = own("pthread_cond_clockwait", NULL);
    struct timespec moment = actually(clock, until);
    return actual(condition, mutex, clock, &moment);
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
    static int (*_Atomic actual)(sem_t *, clockid_t, const struct timespec *);
    if (!actual)
        actual = own("sem_clockwait", NULL);
    struct timespec moment = actually(clock, until);
    return actual(semaphore, clock, &moment);
}
