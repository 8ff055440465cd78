#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILL = 0xa5 };

/* Other threads may still be at work, and a failed test need not be free of leaks. */
static _Noreturn void fail(void)
{
    fflush(stderr);
    _exit(1);
}

int check_main(int argc, char **argv, const struct test *tests, size_t count)
{
    const char *wanted = argc == 2 ? argv[1] : "";
    for (size_t i = 0; i < count; i++) {
        if (strcmp(wanted, "--list") == 0) {
            printf("%s %s\n", tests[i].scene, tests[i].name);
        } else if (strcmp(wanted, tests[i].name) == 0) {
            tests[i].run();
            return 0;
        }
    }
    if (strcmp(wanted, "--list") == 0) {
        return 0;
    }
    fprintf(stderr, "usage: %s --list | NAME\n", argv[0]);
    return 2;
}

_Noreturn void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    fail();
}

void check_equal(const char *file, int line, const char *what, long long left, long long right)
{
    if (left != right) {
        fprintf(stderr, "%s:%d: not so: %s: %lld (0x%llx), %lld (0x%llx)\n", file, line, what, left,
                (unsigned long long)left, right, (unsigned long long)right);
        fail();
    }
}

void check_same(const char *file, int line, const char *what, const void *left, const void *right, size_t size)
{
    if (memcmp(left, right, size) != 0) {
        fprintf(stderr, "%s:%d: the %zu bytes of %s differ\n", file, line, size, what);
        fail();
    }
}

void check_fails(const char *file, int line, const char *call, int failed, int error, int expected)
{
    if (!failed) {
        fprintf(stderr, "%s:%d: succeeds instead of error %d: %s\n", file, line, expected, call);
        fail();
    }
    if (error != expected) {
        fprintf(stderr, "%s:%d: error %d instead of %d: %s\n", file, line, error, expected, call);
        fail();
    }
}

void check_fill(void *memory, size_t size)
{
    memset(memory, FILL, size);
}

void check_untouched(const char *file, int line, const char *what, const void *memory, size_t size)
{
    const unsigned char *bytes = memory;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != FILL) {
            fprintf(stderr, "%s:%d: byte %zu of %s was written\n", file, line, i, what);
            fail();
        }
    }
}
