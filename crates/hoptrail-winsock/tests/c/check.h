/* Checks, and the table of a program's tests. `PROGRAM --list` gives `SCENE NAME` for each, `PROGRAM NAME` runs one:
 * its exit status is 0, or 1 after the first check that did not hold. */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>

struct test {
    const char *scene; /* scene.h */
    const char *name;
    void (*run)(void);
};

#define TEST(scene, name) {#scene, #name, name}
#define TESTS(...)                                                                                                     \
    int main(int argc, char **argv)                                                                                    \
    {                                                                                                                  \
        static const struct test tests[] = {__VA_ARGS__};                                                              \
        return check_main(argc, argv, tests, sizeof tests / sizeof *tests);                                            \
    }

/* That a condition holds. */
#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))
/* That two integers are equal. */
#define EQUAL(left, right)                                                                                             \
    check_equal(__FILE__, __LINE__, #left " == " #right, (long long)(left), (long long)(right))
/* That two stretches of memory are. */
#define SAME(left, right, size) check_same(__FILE__, __LINE__, #left " and " #right, left, right, size)
/* That a call gave SOCKET_ERROR (or FALSE, with REFUSED) and this error. */
#define FAILS(call, error) CHECK_FAILURE((call) == SOCKET_ERROR, #call, error)
#define REFUSED(call, error) CHECK_FAILURE(!(call), #call, error)
#define CHECK_FAILURE(failure, text, error)                                                                            \
    do {                                                                                                               \
        int failed = (failure);                                                                                        \
        check_fails(__FILE__, __LINE__, text, failed, WSAGetLastError(), error);                                       \
    } while (0)
/* That every byte of a stretch is the one that `check_fill` put there. */
#define UNTOUCHED(memory, size) check_untouched(__FILE__, __LINE__, #memory, memory, size)

int check_main(int argc, char **argv, const struct test *tests, size_t count);
_Noreturn void check_failed(const char *file, int line, const char *what);
void check_equal(const char *file, int line, const char *what, long long left, long long right);
void check_same(const char *file, int line, const char *what, const void *left, const void *right, size_t size);
void check_fails(const char *file, int line, const char *call, int failed, int error, int expected);
void check_untouched(const char *file, int line, const char *what, const void *memory, size_t size);
void check_fill(void *memory, size_t size);

#endif
