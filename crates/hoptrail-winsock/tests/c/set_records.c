/* SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS: statements 25 to 40 of docs/conformance.md. */
#include "scene.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int set(SOCKET socket, void *input, DWORD size, DWORD *count)
{
    return WSAIoctl(socket, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, input, size, NULL, 0, count, NULL, NULL);
}

static void connect_to_origin(SOCKET socket)
{
    struct sockaddr_in to = address("192.0.2.10", 80);
    EQUAL(connect(socket, (struct sockaddr *)&to, sizeof to), 0);
}

/* The destination's listener. */
static SOCKET origin(void)
{
    SOCKET listener = listening("origin", address("192.0.2.10", 80));
    be("acme");
    return listener;
}

static void statement_25_on_a_new_socket(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET sockets[] = {tcp(), plain_tcp(), (SOCKET)socket(AF_INET, SOCK_STREAM, 0), (SOCKET)socket(AF_INET6, SOCK_STREAM, 0)};
    for (size_t i = 0; i < 4; i++) {
        EQUAL(set_records(sockets[i], &records), 0);
        EQUAL(closesocket(sockets[i]), 0);
    }
    close_both(connection);
    scene_end();
}

static void statement_26_its_connect_has_a_past(void)
{
    scene_begin();
    SOCKET destination = origin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    EQUAL(set_records(upstream, &records), 0);
    connect_to_origin(upstream); /* and not to acme's listener, which is closed */
    SOCKET end = accept(destination, NULL, NULL);
    CHECK(end != INVALID_SOCKET);
    say((int)upstream, "through");
    hear((int)end, "through");
    EQUAL(closesocket(end), 0);
    EQUAL(closesocket(upstream), 0);
    EQUAL(closesocket(destination), 0);
    close_both(connection);
    scene_end();
}

static void statement_27_the_first_program_is_known(void)
{
    scene_begin();
    SOCKET acme = acme_listens(), beta = listening("beta", listener_of("beta"));
    int hold[2];
    EQUAL(pipe(hold), 0);
    pid_t application = fork();
    if (application == 0) {
        char byte;
        close(hold[1]);
        CHECK(dial("app", address("192.0.2.10", 80)) >= 0);
        (void)!read(hold[0], &byte, 1);
        _exit(0);
    }
    be("acme");
    SOCKET first = accept(acme, NULL, NULL);
    struct blob records = records_of(first);
    SOCKET upstream = tcp();
    EQUAL(set_records(upstream, &records), 0);
    connect_to_origin(upstream);
    be("beta");
    SOCKET second = accept(beta, NULL, NULL);
    struct blob both = records_of(second), context = context_of(second);
    int32_t pid;
    memcpy(&pid, both.bytes + RECORDS_PID_AT, sizeof pid);
    EQUAL(pid, application);
    memcpy(&pid, context.bytes + CONTEXT_PID_AT, sizeof pid);
    EQUAL(pid, application);
    EQUAL(both.size, RECORDS_HEADER + 2 * RECORDS_HOP);
    close(hold[0]);
    close(hold[1]);
    EQUAL(waitpid(application, NULL, 0), application);
    SOCKET all[] = {acme, beta, first, second, upstream};
    for (size_t i = 0; i < 5; i++) {
        EQUAL(closesocket(all[i]), 0);
    }
    scene_end();
}

static void statement_28_only_its_proxy_may(void)
{
    static const char *strangers[] = {"app", "other", "origin"};
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    for (size_t i = 0; i < 3; i++) {
        DWORD count = 1;
        be(strangers[i]);
        FAILS(set(upstream, records.bytes, records.size, &count), WSAEACCES);
    }
    be("acme");
    EQUAL(set_records(upstream, &records), 0);
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

static void statement_29_an_output_size(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    unsigned char output[64];
    DWORD count = 1;
    check_fill(output, sizeof output);
    FAILS(WSAIoctl(upstream, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, records.bytes, records.size, output,
                   sizeof output, &count, NULL, NULL),
          WSAEINVAL);
    UNTOUCHED(output, sizeof output);
    FAILS(WSAIoctl(upstream, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, records.bytes, records.size, NULL, 4, &count,
                   NULL, NULL),
          WSAEINVAL);
    /* It has stayed without records. */
    FAILS(WSAIoctl(upstream, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, NULL, 0, NULL, 0, &count, NULL, NULL),
          WSAENOTCONN);
    /* A pointer without a size is no output. */
    EQUAL(WSAIoctl(upstream, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, records.bytes, records.size, output, 0, &count,
                   NULL, NULL),
          0);
    UNTOUCHED(output, sizeof output);
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

static void statement_30_an_input_that_is_not_there(void)
{
    scene_begin();
    SOCKET upstream = tcp();
    void *places[] = {NULL, NOWHERE, no_access(), (void *)(uintptr_t)-240};
    for (size_t i = 0; i < 4; i++) {
        DWORD count = 1;
        FAILS(set(upstream, places[i], 240, &count), WSAEFAULT);
    }
    DWORD count = 1;
    FAILS(set(upstream, last_bytes(240), 241, &count), WSAEFAULT);
    EQUAL(closesocket(upstream), 0);
    scene_end();
}

static void statement_31_size_0(void)
{
    scene_begin();
    SOCKET upstream = tcp();
    unsigned char byte = 0;
    void *places[] = {NULL, &byte, NOWHERE};
    for (size_t i = 0; i < 3; i++) {
        DWORD count = 1;
        FAILS(set(upstream, places[i], 0, &count), WSAEINVAL);
    }
    EQUAL(closesocket(upstream), 0);
    scene_end();
}

static void statement_32_altered_records(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    DWORD count;
    EQUAL(set_records(upstream, &records), 0);
    for (DWORD size = 1; size < records.size; size++) {
        FAILS(set(upstream, records.bytes, size, &count), WSAEINVAL);
    }
    static const DWORD longer[] = {1, 8, RECORDS_HOP, 1000, 3856};
    for (size_t i = 0; i < 5; i++) {
        struct blob extended = records;
        memset(extended.bytes + records.size, 0, sizeof extended.bytes - records.size);
        FAILS(set(upstream, extended.bytes, records.size + longer[i], &count), WSAEINVAL);
    }
    static unsigned char huge[1 << 20];
    memcpy(huge, records.bytes, records.size);
    FAILS(set(upstream, huge, sizeof huge, &count), WSAEINVAL);
    for (DWORD bit = 0; bit < records.size * 8; bit++) {
        struct blob flipped = records;
        flipped.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        FAILS(set(upstream, flipped.bytes, flipped.size, &count), WSAEINVAL);
    }
    struct blob kept = records_of(upstream);
    EQUAL(kept.size, records.size);
    SAME(kept.bytes, records.bytes, records.size);
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

static void statement_33_the_count_is_0(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    DWORD count = 77;
    EQUAL(set(upstream, records.bytes, records.size, &count), 0);
    EQUAL(count, 0);
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

static void statement_34_the_last_counts(void)
{
    scene_begin();
    SOCKET acme = acme_listens(), beta = listening("beta", listener_of("beta"));
    struct redirected one = redirect(acme, 80), other = redirect(acme, 81);
    struct blob first = records_of(one.accepted), last = records_of(other.accepted);
    SOCKET upstream = tcp();
    EQUAL(set_records(upstream, &first), 0);
    EQUAL(set_records(upstream, &last), 0);
    struct blob now = records_of(upstream);
    EQUAL(now.size, last.size);
    SAME(now.bytes, last.bytes, last.size);
    connect_to_origin(upstream);
    be("beta");
    SOCKET second = accept(beta, NULL, NULL);
    now = records_of(second);
    SAME(now.bytes + RECORDS_PORT_AT, last.bytes + RECORDS_PORT_AT, 2);
    SOCKET all[] = {acme, beta, upstream, second};
    for (size_t i = 0; i < 4; i++) {
        EQUAL(closesocket(all[i]), 0);
    }
    close_both(one);
    close_both(other);
    scene_end();
}

static void statement_35_not_on_a_connected_socket(void)
{
    scene_begin();
    struct redirected connection = redirected(), another = redirected();
    struct blob records = records_of(connection.accepted), before = records_of(another.accepted);
    SOCKET listener = acme_listens();
    DWORD count;
    FAILS(set(another.accepted, records.bytes, records.size, &count), WSAEINVAL);
    FAILS(set(listener, records.bytes, records.size, &count), WSAEINVAL);
    struct blob after = records_of(another.accepted);
    EQUAL(after.size, before.size);
    SAME(after.bytes, before.bytes, before.size);
    EQUAL(closesocket(listener), 0);
    close_both(connection);
    close_both(another);
    scene_end();
}

static void statement_36_not_on_a_udp_socket(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET datagrams = WSASocketW(AF_INET, SOCK_DGRAM, IPPROTO_UDP, NULL, 0, WSA_FLAG_OVERLAPPED);
    DWORD count;
    EQUAL(set(datagrams, records.bytes, records.size, &count), SOCKET_ERROR);
    CHECK(WSAGetLastError() == WSAEINVAL || WSAGetLastError() == WSAEOPNOTSUPP);
    EQUAL(closesocket(datagrams), 0);
    close_both(connection);
    scene_end();
}

static void statement_37_before_bind(void)
{
    scene_begin();
    SOCKET destination = origin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    struct sockaddr_in from = address("192.0.2.20", 0), peer;
    int size = sizeof peer;
    EQUAL(set_records(upstream, &records), 0);
    EQUAL(bind(upstream, (struct sockaddr *)&from, sizeof from), 0);
    connect_to_origin(upstream);
    SOCKET end = accept(destination, (struct sockaddr *)&peer, &size);
    CHECK(end != INVALID_SOCKET);
    EQUAL(peer.sin_addr.s_addr, from.sin_addr.s_addr);
    EQUAL(closesocket(end), 0);
    EQUAL(closesocket(upstream), 0);
    EQUAL(closesocket(destination), 0);
    close_both(connection);
    scene_end();
}

static void statement_38_records_outlive_their_connection(void)
{
    scene_begin();
    SOCKET destination = origin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET early = tcp(), late = tcp();
    EQUAL(set_records(early, &records), 0);
    close_both(connection);
    connect_to_origin(early);
    EQUAL(set_records(late, &records), 0);
    connect_to_origin(late);
    for (int i = 0; i < 2; i++) {
        SOCKET end = accept(destination, NULL, NULL);
        CHECK(end != INVALID_SOCKET);
        EQUAL(closesocket(end), 0);
    }
    EQUAL(closesocket(early), 0);
    EQUAL(closesocket(late), 0);
    EQUAL(closesocket(destination), 0);
    scene_end();
}

static void statement_39_nothing_on_the_wire(void)
{
    scene_begin();
    SOCKET destination = origin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    EQUAL(set_records(upstream, &records), 0);
    connect_to_origin(upstream);
    SOCKET end = accept(destination, NULL, NULL);
    char byte;
    FAILS(recv(end, &byte, 1, MSG_DONTWAIT), WSAEWOULDBLOCK);
    say((int)upstream, "hello");
    EQUAL(shutdown(upstream, SHUT_WR), 0);
    hear((int)end, "hello");
    EQUAL(recv(end, &byte, 1, 0), 0);
    EQUAL(closesocket(end), 0);
    EQUAL(closesocket(upstream), 0);
    EQUAL(closesocket(destination), 0);
    close_both(connection);
    scene_end();
}

static void statement_40_different_clients_have_different_records(void)
{
    scene_begin();
    SOCKET listener = acme_listens();
    struct redirected one = redirect(listener, 80), other = redirect(listener, 80);
    struct blob first = records_of(one.accepted), second = records_of(other.accepted);
    EQUAL(first.size, second.size);
    CHECK(memcmp(first.bytes, second.bytes, first.size) != 0);
    EQUAL(closesocket(listener), 0);
    close_both(one);
    close_both(other);
    scene_end();
}

/* Bound to `lo`, the only interface there is; 0 for none. */
static uint32_t interface_of(SOCKET socket)
{
    uint32_t index = 77;
    INT size = sizeof index;
    EQUAL(getsockopt(socket, SOL_SOCKET, SO_BINDTOIFINDEX, &index, &size), 0);
    return index;
}

static void the_applications_interface_is_followed(void)
{
    uint32_t lo = 1;
    struct sockaddr_in to = address("192.0.2.10", 80);
    scene_begin();
    SOCKET listener = acme_listens(), destination = origin();
    be("app");
    SOCKET client = tcp();
    EQUAL(setsockopt(client, SOL_SOCKET, SO_BINDTOIFINDEX, &lo, sizeof lo), 0);
    EQUAL(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    be("acme");
    SOCKET accepted = accept(listener, NULL, NULL), upstream = tcp(), other = tcp();
    struct blob records = records_of(accepted);
    EQUAL(interface_of(upstream), 0);
    EQUAL(set_records(upstream, &records), 0);
    EQUAL(interface_of(upstream), lo);
    connect_to_origin(upstream);
    /* Of an application that has not bound its socket. */
    struct redirected connection = redirect(listener, 80);
    records = records_of(connection.accepted);
    EQUAL(set_records(other, &records), 0);
    EQUAL(interface_of(other), 0);
    SOCKET all[] = {listener, destination, client, accepted, upstream, other};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        EQUAL(closesocket(all[i]), 0);
    }
    close_both(connection);
    scene_end();
}

TESTS(TEST(acme, the_applications_interface_is_followed), TEST(acme, statement_25_on_a_new_socket), TEST(acme, statement_26_its_connect_has_a_past),
      TEST(two, statement_27_the_first_program_is_known), TEST(acme, statement_28_only_its_proxy_may),
      TEST(acme, statement_29_an_output_size), TEST(acme, statement_30_an_input_that_is_not_there),
      TEST(acme, statement_31_size_0), TEST(acme, statement_32_altered_records), TEST(acme, statement_33_the_count_is_0),
      TEST(two, statement_34_the_last_counts), TEST(acme, statement_35_not_on_a_connected_socket),
      TEST(acme, statement_36_not_on_a_udp_socket), TEST(acme, statement_37_before_bind),
      TEST(acme, statement_38_records_outlive_their_connection), TEST(acme, statement_39_nothing_on_the_wire),
      TEST(acme, statement_40_different_clients_have_different_records))
