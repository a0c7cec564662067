/* A CUDA driver on the host, for tests: memory is malloc's, and nothing that was put on a stream runs before somebody
 * waits for it. Waiting runs exactly what must have run by then: the stream's own operations, and of other streams
 * what it was told to wait for. A forgotten wait is thus a wrong result, every time. A call without a current context
 * fails, as on a GPU, and everything that is not given back is counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NO_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_CONTEXT = 201 };
#define NEEDS_CONTEXT if (!depth) return INVALID_CONTEXT

typedef struct Stream Stream;
typedef struct { Stream *stream; long position; } Event;
typedef struct { char kind; void *to; const void *from; size_t size; Event mark; } Operation;
struct Stream { Operation *operations; long count, done; };

static __thread void *contexts[16];
static __thread int depth;
static long live;
static int primary; /* its address is the primary context */

static long limit(const char *name, long otherwise) { return getenv(name) ? atol(getenv(name)) : otherwise; }
long stub_live(void) { return live; }
long stub_depth(void) { return depth; }

static void run(Stream *stream, long until)
{
    while (stream->done < until) {
        Operation *next = &stream->operations[stream->done++];
        if (next->kind == 'w' && next->mark.stream)
            run(next->mark.stream, next->mark.position);
        if (next->kind == 'c')
            memcpy(next->to, next->from, next->size);
        if (next->kind == 'k')
            for (size_t i = 0; i < next->size; i++)
                ((uint8_t *)next->to)[i] = 255 - ((const uint8_t *)next->from)[i];
    }
}

static int add(Stream *stream, Operation operation)
{
    NEEDS_CONTEXT;
    stream->operations = realloc(stream->operations, (stream->count + 1) * sizeof operation);
    stream->operations[stream->count++] = operation;
    return 0;
}

int stub_invert(Stream *stream, void *to, const void *from, size_t size)
{ return add(stream, (Operation){'k', to, from, size}); }

int cuInit(unsigned flags) { return limit("STUB_INIT", 0); }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = limit("STUB_GPUS", 2); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Stub %d", device); return 0; }
int cuDeviceTotalMem_v2(size_t *size, int device) { *size = 1 << 30; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device)
{ *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1; return 0; }
int cuGetErrorName(int status, const char **name)
{ *name = status == 803 ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH" : NULL; return *name ? 0 : 1; }
int cuGetErrorString(int status, const char **text) { *text = "an error of the stub"; return 0; }

int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &primary; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuCtxCreate_v4(void **context, void *parameters, unsigned flags, int device) { abort(); /* never a new one */ }
int cuCtxPushCurrent_v2(void *context) { contexts[depth++] = context; return 0; }
int cuCtxPopCurrent_v2(void **context) { NEEDS_CONTEXT; *context = contexts[--depth]; return 0; }
int cuCtxGetDevice(int *device) { NEEDS_CONTEXT; *device = 0; return 0; }

int cuMemAlloc_v2(void **memory, size_t size)
{
    NEEDS_CONTEXT;
    if ((long)size > limit("STUB_MEMORY", 1 << 30)) return NO_MEMORY;
    live++; *memory = malloc(size); memset(*memory, 77, size);
    return 0;
}
int cuMemFree_v2(void *memory) { NEEDS_CONTEXT; live--; memset(memory, 99, 1); free(memory); return 0; }
int cuMemHostAlloc(void **memory, size_t size, unsigned flags) { NEEDS_CONTEXT; live++; *memory = malloc(size); return 0; }
int cuMemFreeHost(void *memory) { NEEDS_CONTEXT; live--; free(memory); return 0; }

int cuStreamCreate(Stream **stream, unsigned flags)
{ NEEDS_CONTEXT; live++; *stream = calloc(1, sizeof **stream); return flags == 1 ? 0 : 1; }
int cuStreamDestroy_v2(Stream *stream) { NEEDS_CONTEXT; live--; return 0; }
int cuStreamSynchronize(Stream *stream) { NEEDS_CONTEXT; run(stream, stream->count); return 0; }
int cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags)
{ return add(stream, (Operation){'w', NULL, NULL, 0, *event}); }
int cuEventCreate(Event **event, unsigned flags) { NEEDS_CONTEXT; live++; *event = calloc(1, sizeof **event); return 0; }
int cuEventDestroy_v2(Event *event) { NEEDS_CONTEXT; live--; free(event); return 0; }
int cuEventRecord(Event *event, Stream *stream) { NEEDS_CONTEXT; *event = (Event){stream, stream->count}; return 0; }
int cuEventSynchronize(Event *event)
{ NEEDS_CONTEXT; if (event->stream) run(event->stream, event->position); return 0; }

int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, Stream *stream)
{ return add(stream, (Operation){'c', to, from, size}); }
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, Stream *stream)
{ return add(stream, (Operation){'c', to, from, size}); }

/* How cuda-bindings finds everything: the newest function of a name. */
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status)
{
    void *self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    char newer[128];
    snprintf(newer, sizeof newer, "%s_v2", name);
    *function = dlsym(self, newer);
    if (!*function) *function = dlsym(self, name);
    if (status) *status = *function ? 0 : 1;
    return *function ? 0 : 500;
}
