/* A libcuda.so.1 without a GPU: as much of NVIDIA's driver API as edgeseg calls, done at once on the processor.

   It stands behind the real cuda-python and pycuda, to check that they are called as they want to be. It is the
   driver of CUDA 12.6, as on JetPack 6: what is younger does not exist. Set in the environment:
   SIMULATED_GPUS=0        there is none
   SIMULATED_CAPTURE=901   every capture ends with this error */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, NO_DEVICE = 100, NO_CONTEXT = 201, NOT_FOUND = 500 };
enum { VERSION = 12060, MEMORY = 64 << 20, CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76, MOST = 64 };

typedef struct { void *to; const void *from; size_t size; } Copy;
typedef struct { Copy copies[MOST]; int count; int capturing; } Work;

static __thread int depth;
static int context;
static size_t taken;
static int left;

static int setting(const char *name, int usual) {
    const char *value = getenv(name);
    return value ? atoi(value) : usual;
}

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : setting("SIMULATED_GPUS", 1) ? OK : NO_DEVICE; }
int cuDriverGetVersion(int *version) { *version = VERSION; return OK; }
int cuDeviceGetCount(int *count) { *count = setting("SIMULATED_GPUS", 1); return OK; }
int cuDeviceGet(int *device, int ordinal) { *device = 0; return ordinal ? INVALID_VALUE : OK; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Simulated %d", device); return OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == CAPABILITY_MAJOR ? 8 : attribute == CAPABILITY_MINOR ? 7 : -1;
    return device ? INVALID_VALUE : OK;
}
int cuDeviceComputeCapability(int *major, int *minor, int device) {
    *major = 8, *minor = 7;
    return device ? INVALID_VALUE : OK;
}
int cuDevicePrimaryCtxRetain(void **into, int device) { *into = &context; return device ? INVALID_VALUE : OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { return device ? INVALID_VALUE : OK; }
int cuCtxPushCurrent_v2(void *pushed) { depth++; return pushed == &context ? OK : INVALID_VALUE; }
int cuCtxPopCurrent_v2(void **popped) { *popped = &context; return depth-- > 0 ? OK : NO_CONTEXT; }
int cuMemGetInfo_v2(size_t *available, size_t *total) {
    *available = MEMORY - taken, *total = MEMORY;
    return depth ? OK : NO_CONTEXT;
}

/* Every block starts with its size, 256 bytes before what is given out. */
static int take(char **address, size_t size) {
    if (!depth) return NO_CONTEXT;
    if (taken + size > MEMORY) return OUT_OF_MEMORY;
    char *block = aligned_alloc(256, (size + 511) / 256 * 256);
    *(size_t *)block = size;
    *address = block + 256, taken += size, left++;
    return OK;
}
static int give_back(char *address) {
    if (!depth) return NO_CONTEXT;
    taken -= *(size_t *)(address - 256), left--;
    free(address - 256);
    return OK;
}
int cuMemAlloc_v2(char **address, size_t size) { return take(address, size); }
int cuMemFree_v2(char *address) { return give_back(address); }
int cuMemHostAlloc(char **address, size_t size, unsigned flags) { return flags ? INVALID_VALUE : take(address, size); }
int cuMemFreeHost(char *address) { return give_back(address); }

static int make(void **into) {
    *into = calloc(1, sizeof(Work)), left++;
    return depth ? OK : NO_CONTEXT;
}
static int drop(void *thing) { free(thing), left--; return depth ? OK : NO_CONTEXT; }
int cuStreamCreate(void **stream, unsigned flags) { return flags == 1 ? make(stream) : INVALID_VALUE; }
int cuStreamDestroy_v2(void *stream) { return drop(stream); }
int cuEventCreate(void **event, unsigned flags) { return flags == 3 ? make(event) : INVALID_VALUE; }
int cuEventDestroy_v2(void *event) { return drop(event); }
int cuEventRecord(Work *event, void *stream) { event->count = stream != NULL; return depth ? OK : NO_CONTEXT; }
int cuEventSynchronize(Work *event) { return event->count ? OK : INVALID_VALUE; }

static int copy(void *to, const void *from, size_t size, Work *stream) {
    if (!depth) return NO_CONTEXT;
    if (stream->capturing) stream->copies[stream->count++] = (Copy){to, from, size};
    else memcpy(to, from, size);
    return OK;
}
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t size, void *stream) { return copy(to, from, size, stream); }
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t size, void *stream) { return copy(to, from, size, stream); }

int cuStreamBeginCapture_v2(Work *stream, int mode) {
    if (stream->capturing) return INVALID_VALUE;
    stream->capturing = 1, stream->count = 0;
    return mode == 1 ? OK : INVALID_VALUE;
}
int cuStreamEndCapture(Work *stream, Work **graph) {
    stream->capturing = 0, *graph = NULL;
    int refused = setting("SIMULATED_CAPTURE", 0);
    if (refused) return refused;
    make((void **)graph);
    **graph = *stream;
    return OK;
}
int cuGraphInstantiateWithFlags(Work **launchable, Work *graph, unsigned long long flags) {
    make((void **)launchable);
    **launchable = *graph;
    return flags ? INVALID_VALUE : OK;
}
int cuGraphLaunch(Work *graph, void *stream) {
    for (int i = 0; i < graph->count; i++) copy(graph->copies[i].to, graph->copies[i].from, graph->copies[i].size, stream);
    return depth ? OK : NO_CONTEXT;
}
int cuGraphExecDestroy(void *graph) { return drop(graph); }
int cuGraphDestroy(void *graph) { return drop(graph); }

int cuGetErrorString(int code, const char **text) {
    *text = code == OUT_OF_MEMORY ? "out of memory" : code == NO_DEVICE ? "no CUDA-capable device is detected" : "an error";
    return OK;
}
int cuGetErrorName(int code, const char **text) { (void)code; *text = "CUDA_ERROR"; return OK; }

/* Blocks, streams, events and graphs that were never given back, and contexts that were never left. */
int simulated_left(void) { return left + depth; }

int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    static const char *endings[] = {"", "_v2", "WithFlags"};
    char full[128];
    (void)flags, *found = NULL;
    for (int i = 0; i < 3 && !*found && version <= VERSION; i++) {
        snprintf(full, sizeof full, "%s%s", name, endings[i]);
        *found = dlsym(RTLD_DEFAULT, full);
        if (!*found) {
            void *self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
            *found = self ? dlsym(self, full) : NULL;
        }
    }
    if (status) *status = *found ? 0 : 1;
    return *found ? OK : NOT_FOUND;
}
int cuGetProcAddress(const char *name, void **found, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, found, version, flags, NULL);
}
