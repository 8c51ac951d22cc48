// A processor of the AVX2 generation, made of a newer one: loaded before a program, it hides AVX-512, VNNI and AMX.
//
//     cc -shared -fPIC -o without_vnni.so tests/x86/without_vnni.c -ldl
//     LD_PRELOAD=$PWD/without_vnni.so python -m pytest -p no:faulthandler tests/exporter
//
// Linux lets CPUID fault where the processor can (the flag cpuid_fault in /proc/cpuinfo). The fault is answered with
// what the processor says, less what is to be hidden, so that libraries take the kernels of such a processor and run
// them at their own speed. /proc/cpuinfo, which edgeseg reads, is replaced by the file in CPUINFO if that is set.
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(number) (1u << (number))

typedef int (*set_action)(int, const struct sigaction *, struct sigaction *);
static struct sigaction others;  // What the program itself wants to do about SIGSEGV.
static int hiding;

static long allow_cpuid(long allowed) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed); }

static void hide(unsigned leaf, unsigned part, unsigned *a, unsigned *b, unsigned *c, unsigned *d) {
    if (leaf == 7 && part == 0) {
        *b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));  // AVX-512
        *c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));              // its VBMI, VNNI, BITALG, VPOPCNTDQ
        *d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25));  // its FP16, and AMX
    } else if (leaf == 7 && part == 1) {
        *a = *b = *c = *d = 0;  // AVX-VNNI, BF16 and their like
    } else if (leaf == 0xd && part == 0) {
        *a &= ~(BIT(5) | BIT(6) | BIT(7) | BIT(17) | BIT(18));  // registers of AVX-512 and AMX
    }
}

static void on_fault(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)registers[REG_RIP];
    if (code[0] == 0x0f && code[1] == 0xa2) {
        unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
        allow_cpuid(1);
        __cpuid_count(leaf, part, a, b, c, d);
        allow_cpuid(0);
        hide(leaf, part, &a, &b, &c, &d);
        registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
        registers[REG_RIP] += 2;
    } else if (others.sa_flags & SA_SIGINFO) {
        others.sa_sigaction(number, info, context);
    } else {
        signal(SIGSEGV, SIG_DFL);
    }
}

int sigaction(int number, const struct sigaction *wanted, struct sigaction *before) {
    if (number != SIGSEGV || !hiding) return ((set_action)dlsym(RTLD_NEXT, "sigaction"))(number, wanted, before);
    if (before) *before = others;
    if (wanted) others = *wanted;
    return 0;
}

__attribute__((constructor)) static void start(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, &others);
    hiding = 1;
    if (allow_cpuid(0)) {
        fputs("this processor, or its hypervisor, does not let CPUID fault\n", stderr);
        _exit(77);
    }
}

static const char *replaced(const char *path) {
    const char *other = getenv("CPUINFO");
    return other && !strcmp(path, "/proc/cpuinfo") ? other : path;
}

#define OPEN(name)                                                              \
    int name(const char *path, int flags, ...) {                                \
        va_list rest;                                                           \
        va_start(rest, flags);                                                  \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;               \
        va_end(rest);                                                           \
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);          \
        return real(replaced(path), flags, mode);                               \
    }
OPEN(open)
OPEN(open64)
