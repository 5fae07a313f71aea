// libssl in this program is given another clock, and is watched taking locks: functions of the C library that the program
// defines itself come first.

#define _GNU_SOURCE
#include "player.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/time.h>
#include <time.h>

long clock_offset;
int write_locks;

// When every scenario begins.
static time_t began;

long now(void)
{
    if (began == 0) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        began = t.tv_sec;
    }
    return began + clock_offset;
}

time_t time(time_t *result)
{
    time_t t = now();

    if (result != NULL)
        *result = t;
    return t;
}

// Newer versions ask for more than seconds.
int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    (void)zone;
    t->tv_sec = now();
    t->tv_usec = 0;
    return 0;
}

typedef int lock_function(pthread_rwlock_t *);

static lock_function *original(const char *name)
{
    lock_function *f;

    *(void **)&f = dlsym(RTLD_NEXT, name);
    if (f == NULL)
        fail("no %s", name);
    return f;
}

static pthread_rwlock_t *held[16];

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    static lock_function *f;
    int result;

    if (f == NULL)
        f = original("pthread_rwlock_wrlock");
    result = f(lock);
    if (result == 0 && write_locks < 16)
        held[write_locks++] = lock;
    return result;
}

int pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    static lock_function *f;

    if (f == NULL)
        f = original("pthread_rwlock_unlock");
    if (write_locks > 0 && held[write_locks - 1] == lock)
        write_locks--;
    return f(lock);
}
