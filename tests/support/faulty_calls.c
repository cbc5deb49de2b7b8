/* Lets the system calls of a process fail, or ends it, at the n-th call that concerns files below one folder.

   cc -shared -fPIC -O1 faulty_calls.c -o faulty_calls.so
   LD_PRELOAD=faulty_calls.so FAULT=full FAULT_AT=7 FAULT_PLACE=/data/out geoseg ...

   FAULT        kill: SIGKILL; full: no space left, from then on; broken: one write fails; unreadable: one read fails;
                anything else: calls are only counted
   FAULT_AT     the number of that call: of those that read for `unreadable`, else of those that change anything
   FAULT_PLACE  the folder, absolute

   Processes that are started inherit all this; one that is forked calls `arm` to read the environment anew. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static const char *fault = "", *place = "";
static long at, changes, reads;

long count_changes(void) { return changes; }
long count_reads(void) { return reads; }

__attribute__((constructor)) void arm(void) {
    fault = getenv("FAULT") ? strdup(getenv("FAULT")) : "";
    place = getenv("FAULT_PLACE") ? strdup(getenv("FAULT_PLACE")) : "";
    at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
    changes = reads = 0;
}

static int starts_there(const char *path) { return strncmp(path, place, strlen(place)) == 0; }

/* Whether an open file, or a folder, lies in the place. */
static int lies_there(int file) {
    char link[32], path[PATH_MAX];
    if (!*place) return 0;
    if (file == AT_FDCWD) return getcwd(path, sizeof path) && starts_there(path);
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return starts_there(path);
}

static int is_named_there(int folder, const char *path) {
    return *place && path && (*path == '/' ? starts_there(path) : lies_there(folder));
}

/* The number of the error with which a change fails, else 0; `grows` tells of one that needs room. */
static int fail_change(int concerns, int grows) {
    if (!concerns) return 0;
    long number = __sync_add_and_fetch(&changes, 1);
    if (number == at && !strcmp(fault, "kill")) kill(getpid(), SIGKILL);
    if (number >= at && grows && !strcmp(fault, "full")) return errno = ENOSPC;
    if (number == at && grows && !strcmp(fault, "broken")) return errno = EIO;
    return 0;
}

static int fail_read(int concerns) {
    if (!concerns) return 0;
    long number = __sync_add_and_fetch(&reads, 1);
    return number == at && !strcmp(fault, "unreadable") ? (errno = EIO) : 0;
}

static int creates(int folder, const char *path, int is_asked) {
    struct stat status;
    return is_asked && is_named_there(folder, path) && fstatat(folder, path, &status, 0) != 0;
}

#define REPLACE(type, name, parameters, given, fails, failure) \
    type name parameters { return fails ? (failure) : REAL(name) given; }
#define REPLACE_OPEN(name, first, folder, ...)                                                         \
    int name(first const char *path, int flags, ...) {                                                 \
        va_list rest;                                                                                  \
        va_start(rest, flags);                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                        \
        va_end(rest);                                                                                  \
        return fail_change(creates(folder, path, flags & O_CREAT), 1) ? -1 : REAL(name)(__VA_ARGS__);  \
    }
#define AND_FOLDER int folder,

REPLACE_OPEN(open, , AT_FDCWD, path, flags, mode)
REPLACE_OPEN(open64, , AT_FDCWD, path, flags, mode)
REPLACE_OPEN(openat, AND_FOLDER, folder, folder, path, flags, mode)
REPLACE_OPEN(openat64, AND_FOLDER, folder, folder, path, flags, mode)
REPLACE(FILE *, fopen, (const char *path, const char *mode), (path, mode),
        fail_change(creates(AT_FDCWD, path, *mode != 'r'), 1), NULL)
REPLACE(FILE *, fopen64, (const char *path, const char *mode), (path, mode),
        fail_change(creates(AT_FDCWD, path, *mode != 'r'), 1), NULL)
REPLACE(int, mkdir, (const char *path, mode_t mode), (path, mode), fail_change(is_named_there(AT_FDCWD, path), 1), -1)

REPLACE(ssize_t, write, (int file, const void *data, size_t size), (file, data, size),
        fail_change(lies_there(file), 1), -1)
REPLACE(ssize_t, pwrite, (int file, const void *data, size_t size, off_t from), (file, data, size, from),
        fail_change(lies_there(file), 1), -1)
REPLACE(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t from), (file, data, size, from),
        fail_change(lies_there(file), 1), -1)
REPLACE(size_t, fwrite, (const void *data, size_t size, size_t count, FILE *file), (data, size, count, file),
        fail_change(lies_there(fileno(file)), 1), 0)
REPLACE(int, fsync, (int file), (file), fail_change(lies_there(file), 1), -1)
REPLACE(int, ftruncate, (int file, off_t size), (file, size), fail_change(lies_there(file), 1), -1)
REPLACE(int, ftruncate64, (int file, off64_t size), (file, size), fail_change(lies_there(file), 1), -1)

REPLACE(int, rename, (const char *from, const char *to), (from, to), fail_change(is_named_there(AT_FDCWD, to), 0), -1)
REPLACE(int, renameat, (int from, const char *path, int to, const char *name), (from, path, to, name),
        fail_change(is_named_there(to, name), 0), -1)
REPLACE(int, link, (const char *from, const char *to), (from, to), fail_change(is_named_there(AT_FDCWD, to), 0), -1)
REPLACE(int, unlink, (const char *path), (path), fail_change(is_named_there(AT_FDCWD, path), 0), -1)
REPLACE(int, unlinkat, (int folder, const char *path, int flags), (folder, path, flags),
        fail_change(is_named_there(folder, path), 0), -1)
REPLACE(int, rmdir, (const char *path), (path), fail_change(is_named_there(AT_FDCWD, path), 0), -1)

REPLACE(ssize_t, read, (int file, void *data, size_t size), (file, data, size), fail_read(lies_there(file)), -1)
REPLACE(ssize_t, pread, (int file, void *data, size_t size, off_t from), (file, data, size, from),
        fail_read(lies_there(file)), -1)
REPLACE(ssize_t, pread64, (int file, void *data, size_t size, off64_t from), (file, data, size, from),
        fail_read(lies_there(file)), -1)
REPLACE(size_t, fread, (void *data, size_t size, size_t count, FILE *file), (data, size, count, file),
        fail_read(lies_there(fileno(file))), 0)
