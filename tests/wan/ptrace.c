/* Lets user-mode Linux 6.1 run on a processor with AMX. That kernel keeps 2,696 bytes of the extended state (XSAVE) of
 * each of its processes: all up to AVX-512 and PKRU. The host takes the whole state or nothing, so it refuses these
 * bytes alone (EFAULT), and no process runs. This adds the rest, which no process there uses. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

static long (*original)(int, int, void *, void *);
static char state[1 << 16];
static size_t size;

__attribute__((constructor)) static void start(void) {
    original = (long (*)(int, int, void *, void *))dlsym(RTLD_NEXT, "ptrace");
}

long ptrace(enum __ptrace_request request, ...) {
    va_list rest;
    va_start(rest, request);
    int process = va_arg(rest, int);
    void *address = va_arg(rest, void *);
    void *data = va_arg(rest, void *);
    va_end(rest);
    struct iovec *part = data;
    if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE || (size && part->iov_len >= size))
        return original(request, process, address, data);
    struct iovec whole = {state, sizeof state};
    long failed = original(PTRACE_GETREGSET, process, address, &whole);
    if (failed)
        return failed;
    size = whole.iov_len;
    if (part->iov_len >= size)
        return original(request, process, address, data);
    memcpy(state, part->iov_base, part->iov_len);
    return original(request, process, address, &whole);
}
