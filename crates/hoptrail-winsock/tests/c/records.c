/* SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS: statements 1 to 15 of docs/conformance.md. */
#include "scene.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int ask(SOCKET socket, void *buffer, DWORD room, DWORD *count)
{
    return WSAIoctl(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, NULL, 0, buffer, room, count, NULL, NULL);
}

static void statement_01_records_of_an_accepted_socket(void)
{
    scene_begin();
    struct redirected connection = redirected();
    unsigned char buffer[1024];
    DWORD count = 0;
    EQUAL(ask(connection.accepted, buffer, sizeof buffer, &count), 0);
    CHECK(count > 0 && count <= 1024);
    EQUAL(count, RECORDS_HEADER + RECORDS_HOP);
    EQUAL(buffer[RECORDS_HOPS_AT], 1);
    close_both(connection);
    scene_end();
}

static void statement_02_asking_does_not_consume(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob first = records_of(connection.accepted);
    for (int i = 0; i < 10; i++) {
        struct blob again = records_of(connection.accepted);
        EQUAL(again.size, first.size);
        SAME(again.bytes, first.bytes, first.size);
    }
    close_both(connection);
    scene_end();
}

static void statement_03_size_0_asks_for_the_size(void)
{
    scene_begin();
    struct redirected connection = redirected();
    DWORD size = records_of(connection.accepted).size, count = 1;
    unsigned char byte;
    check_fill(&byte, 1);
    FAILS(ask(connection.accepted, NULL, 0, &count), ERROR_INSUFFICIENT_BUFFER);
    EQUAL(count, size);
    count = 1;
    FAILS(ask(connection.accepted, &byte, 0, &count), ERROR_INSUFFICIENT_BUFFER);
    EQUAL(count, size);
    UNTOUCHED(&byte, 1);
    close_both(connection);
    scene_end();
}

static void statement_04_exactly_that_size(void)
{
    scene_begin();
    struct redirected connection = redirected();
    unsigned char buffer[4096];
    DWORD size = 0, count = 0;
    FAILS(ask(connection.accepted, NULL, 0, &size), ERROR_INSUFFICIENT_BUFFER);
    check_fill(buffer, sizeof buffer);
    EQUAL(ask(connection.accepted, buffer, size, &count), 0);
    EQUAL(count, size);
    UNTOUCHED(buffer + size, sizeof buffer - size);
    close_both(connection);
    scene_end();
}

static void statement_05_a_short_buffer_stays_as_it_was(void)
{
    scene_begin();
    struct redirected connection = redirected();
    DWORD size = records_of(connection.accepted).size;
    for (DWORD room = 4; room < size; room++) {
        unsigned char buffer[4096];
        DWORD count = 1;
        check_fill(buffer, sizeof buffer);
        FAILS(ask(connection.accepted, buffer, room, &count), ERROR_INSUFFICIENT_BUFFER);
        EQUAL(count, size);
        UNTOUCHED(buffer, sizeof buffer);
    }
    close_both(connection);
    scene_end();
}

static void statement_06_less_than_a_ulong(void)
{
    scene_begin();
    struct redirected connection = redirected();
    for (DWORD room = 1; room <= 3; room++) {
        unsigned char buffer[4];
        DWORD count = 1;
        check_fill(buffer, sizeof buffer);
        FAILS(ask(connection.accepted, buffer, room, &count), WSAEINVAL);
        EQUAL(count, 0);
        UNTOUCHED(buffer, sizeof buffer);
    }
    close_both(connection);
    scene_end();
}

static void statement_07_room_behind_the_records(void)
{
    static const DWORD more[] = {1, 7, 64, 1000, 3000, 60000};
    static unsigned char buffer[65536];
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        DWORD count = 0;
        check_fill(buffer, sizeof buffer);
        EQUAL(ask(connection.accepted, buffer, records.size + more[i], &count), 0);
        EQUAL(count, records.size);
        SAME(buffer, records.bytes, records.size);
        UNTOUCHED(buffer + count, sizeof buffer - count);
    }
    close_both(connection);
    scene_end();
}

static void statement_08_an_input_buffer_is_ignored(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    unsigned char input[64], buffer[1024];
    struct {
        void *at;
        DWORD size;
    } inputs[] = {{input, sizeof input}, {input, 0}, {NULL, 64}, {NOWHERE, 64}, {no_access(), 4096}};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        DWORD count = 0;
        check_fill(input, sizeof input);
        EQUAL(WSAIoctl(connection.accepted, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, inputs[i].at, inputs[i].size,
                       buffer, sizeof buffer, &count, NULL, NULL),
              0);
        EQUAL(count, records.size);
        SAME(buffer, records.bytes, count);
        UNTOUCHED(input, sizeof input);
    }
    close_both(connection);
    scene_end();
}

static void statement_09_a_direct_connection_has_none(void)
{
    scene_begin();
    int client;
    SOCKET accepted = direct(&client);
    SOCKET sides[] = {accepted, (SOCKET)client};
    static const DWORD rooms[] = {0, 4, 1024};
    for (size_t side = 0; side < 2; side++) {
        for (size_t i = 0; i < 3; i++) {
            unsigned char buffer[1024];
            DWORD count = 1;
            check_fill(buffer, sizeof buffer);
            FAILS(ask(sides[side], buffer, rooms[i], &count), WSAEINVAL);
            EQUAL(count, 0);
            UNTOUCHED(buffer, sizeof buffer);
        }
    }
    close_both((struct redirected){client, accepted});
    scene_end();
}

static void statement_10_not_connected(void)
{
    scene_begin();
    SOCKET sockets[] = {acme_listens(), tcp(), plain_tcp()};
    for (size_t i = 0; i < 3; i++) {
        unsigned char buffer[1024];
        DWORD count = 1;
        FAILS(ask(sockets[i], buffer, sizeof buffer, &count), WSAENOTCONN);
        EQUAL(count, 0);
        FAILS(ask(sockets[i], NULL, 0, &count), WSAENOTCONN);
        EQUAL(closesocket(sockets[i]), 0);
    }
    scene_end();
}

static void statement_11_not_a_socket(void)
{
    scene_begin();
    int file = open("/dev/null", O_RDWR | O_CLOEXEC), pipes[2];
    EQUAL(pipe(pipes), 0);
    SOCKET others[] = {(SOCKET)file, (SOCKET)pipes[0], INVALID_SOCKET, (SOCKET)(1 << 20), (SOCKET)-2};
    static const DWORD codes[] = {SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT,
                                  SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        for (size_t code = 0; code < 3; code++) {
            unsigned char input[240] = {0}, buffer[1024];
            DWORD count = 1, room = codes[code] == SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS ? 0 : sizeof buffer;
            FAILS(WSAIoctl(others[i], codes[code], input, sizeof input, room ? buffer : NULL, room, &count, NULL, NULL),
                  WSAENOTSOCK);
        }
    }
    close(file);
    close(pipes[0]);
    close(pipes[1]);
    scene_end();
}

static void statement_12_a_transport_without_support(void)
{
    scene_begin();
    int pair[2];
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    for (int i = 0; i < 2; i++) {
        unsigned char buffer[1024];
        DWORD count = 1;
        FAILS(ask((SOCKET)pair[i], buffer, sizeof buffer, &count), WSAEOPNOTSUPP);
        EQUAL(count, 0);
        close(pair[i]);
    }
    scene_end();
}

static void statement_13_asking_needs_no_privilege(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    pid_t child = fork();
    if (child == 0) {
        unsigned char buffer[1024];
        DWORD count = 0;
        EQUAL(setresgid(65534, 65534, 65534), 0);
        EQUAL(setresuid(65534, 65534, 65534), 0);
        EQUAL(ask(connection.accepted, buffer, sizeof buffer, &count), 0);
        EQUAL(count, records.size);
        _exit(0);
    }
    int status = -1;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    close_both(connection);
    scene_end();
}

static void statement_14_no_place_for_the_count(void)
{
    scene_begin();
    struct redirected connection = redirected();
    DWORD *places[] = {NULL, NOWHERE, no_access(), read_only(), (DWORD *)(uintptr_t)-4};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        unsigned char buffer[1024];
        FAILS(ask(connection.accepted, buffer, sizeof buffer, places[i]), WSAEFAULT);
        FAILS(ask(connection.accepted, NULL, 0, places[i]), WSAEFAULT);
    }
    close_both(connection);
    scene_end();
}

static void statement_15_an_output_buffer_that_is_not_there(void)
{
    scene_begin();
    struct redirected connection = redirected();
    void *places[] = {NULL, NOWHERE, no_access(), read_only(), (void *)(uintptr_t)-1024};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        DWORD count = 1;
        FAILS(ask(connection.accepted, places[i], 1024, &count), WSAEFAULT);
    }
    DWORD count = 1;
    FAILS(ask(connection.accepted, last_bytes(RECORDS_HEADER + RECORDS_HOP - 1), 1024, &count), WSAEFAULT);
    /* Only as far as the records reach it must be there. */
    EQUAL(ask(connection.accepted, last_bytes(RECORDS_HEADER + RECORDS_HOP), 1024, &count), 0);
    EQUAL(count, RECORDS_HEADER + RECORDS_HOP);
    close_both(connection);
    scene_end();
}

TESTS(TEST(acme, statement_01_records_of_an_accepted_socket), TEST(acme, statement_02_asking_does_not_consume),
      TEST(acme, statement_03_size_0_asks_for_the_size), TEST(acme, statement_04_exactly_that_size),
      TEST(acme, statement_05_a_short_buffer_stays_as_it_was), TEST(acme, statement_06_less_than_a_ulong),
      TEST(acme, statement_07_room_behind_the_records), TEST(acme, statement_08_an_input_buffer_is_ignored),
      TEST(acme, statement_09_a_direct_connection_has_none), TEST(acme, statement_10_not_connected),
      TEST(none, statement_11_not_a_socket), TEST(none, statement_12_a_transport_without_support),
      TEST(acme, statement_13_asking_needs_no_privilege), TEST(acme, statement_14_no_place_for_the_count),
      TEST(acme, statement_15_an_output_buffer_that_is_not_there))
