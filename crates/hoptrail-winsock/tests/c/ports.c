/* Completion ports. */
#include "completion.h"

#include <unistd.h>

enum { KEY = 4711 };

static HANDLE port_of(SOCKET socket)
{
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    CHECK(port != NULL);
    CHECK(CreateIoCompletionPort((HANDLE)socket, port, KEY, 0) == port);
    return port;
}

/* A packet; gives the error, or 0. */
static int take(HANDLE port, DWORD *bytes, ULONG_PTR *key, LPOVERLAPPED *operation)
{
    return GetQueuedCompletionStatus(port, bytes, key, operation, 30000) ? 0 : WSAGetLastError();
}

static void expect_empty(HANDLE port)
{
    DWORD bytes = 77;
    ULONG_PTR key = 77;
    LPOVERLAPPED operation = NOWHERE;
    REFUSED(GetQueuedCompletionStatus(port, &bytes, &key, &operation, 0), WAIT_TIMEOUT);
    CHECK(operation == NULL);
}

/* Also for a call that completes at once, as on Windows. */
static void a_packet_for_every_overlapped_call(void)
{
    scene_begin();
    struct redirected connection = redirected();
    HANDLE port = port_of(connection.accepted);
    unsigned char buffer[1024];
    for (int i = 0; i < 10; i++) {
        WSAOVERLAPPED operation = {0};
        DWORD count = 0, bytes = 0;
        ULONG_PTR key = 0;
        LPOVERLAPPED got = NULL;
        int result = overlapped_query(connection.accepted, buffer, sizeof buffer, &count, &operation, NULL);
        CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
        EQUAL(take(port, &bytes, &key, &got), 0);
        EQUAL(bytes, RECORDS_HEADER + RECORDS_HOP);
        EQUAL(key, KEY);
        CHECK(got == &operation);
        expect_empty(port);
    }
    CHECK(CloseHandle(port));
    close_both(connection);
    scene_end();
}

static void no_packet_for_a_synchronous_call(void)
{
    scene_begin();
    struct redirected connection = redirected();
    HANDLE port = port_of(connection.accepted);
    (void)records_of(connection.accepted);
    expect_empty(port);
    CHECK(CloseHandle(port));
    close_both(connection);
    scene_end();
}

static void a_pending_call_that_succeeds(void)
{
    struct pending query = {0};
    DWORD bytes = 0, count = 0;
    ULONG_PTR key = 0;
    LPOVERLAPPED got = NULL;
    scene_begin();
    HANDLE port = port_of(flow_sockets(&query));
    check_fill(query.buffer, sizeof query.buffer);
    FAILS(overlapped_query(query.connecting.socket, query.buffer, sizeof query.buffer, &count, &query.operation, NULL),
          WSA_IO_PENDING);
    expect_empty(port);
    begin_flow(&query);
    EQUAL(take(port, &bytes, &key, &got), 0);
    EQUAL(bytes, RECORDS_HEADER + RECORDS_HOP);
    EQUAL(key, KEY);
    CHECK(got == &query.operation);
    CHECK(CloseHandle(port));
    forget_flow(&query);
    scene_end();
}

static void a_failure_comes_with_its_operation(void)
{
    DWORD bytes = 77, count;
    ULONG_PTR key = 0;
    LPOVERLAPPED got = NULL;
    scene_begin();
    SOCKET socket = tcp();
    HANDLE port = port_of(socket);
    struct unanswered connecting = unanswered(socket);
    WSAOVERLAPPED operation = {0};
    unsigned char buffer[1024];
    FAILS(overlapped_query(socket, buffer, sizeof buffer, &count, &operation, NULL), WSA_IO_PENDING);
    answer(&connecting);
    EQUAL(take(port, &bytes, &key, &got), WSAEINVAL);
    CHECK(got == &operation);
    EQUAL(key, KEY);
    EQUAL(bytes, 0);
    close(connecting.listener);
    close(connecting.filler);
    EQUAL(closesocket(socket), 0);
    CHECK(CloseHandle(port));
    scene_end();
}

static void a_cancelled_call(void)
{
    DWORD bytes = 77, count;
    ULONG_PTR key = 0;
    LPOVERLAPPED got = NULL;
    scene_begin();
    SOCKET socket = tcp();
    HANDLE port = port_of(socket);
    struct unanswered connecting = unanswered(socket);
    WSAOVERLAPPED operation = {0};
    unsigned char buffer[1024];
    FAILS(overlapped_query(socket, buffer, sizeof buffer, &count, &operation, NULL), WSA_IO_PENDING);
    EQUAL(closesocket(socket), 0);
    EQUAL(take(port, &bytes, &key, &got), WSA_OPERATION_ABORTED);
    CHECK(got == &operation);
    expect_empty(port);
    close(connecting.listener);
    close(connecting.filler);
    CHECK(CloseHandle(port));
    scene_end();
}

static void posted_packets_come_in_order(void)
{
    scene_begin();
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    for (DWORD i = 0; i < 100; i++) {
        CHECK(PostQueuedCompletionStatus(port, i, i * 7, (LPOVERLAPPED)(uintptr_t)(i * 16)));
    }
    for (DWORD i = 0; i < 100; i++) {
        DWORD bytes = 77;
        ULONG_PTR key = 77;
        LPOVERLAPPED got = NOWHERE;
        EQUAL(take(port, &bytes, &key, &got), 0);
        EQUAL(bytes, i);
        EQUAL(key, i * 7);
        CHECK(got == (LPOVERLAPPED)(uintptr_t)(i * 16));
    }
    expect_empty(port);
    CHECK(CloseHandle(port));
    scene_end();
}

static void *wait_at(void *port)
{
    DWORD bytes;
    ULONG_PTR key;
    LPOVERLAPPED got = NOWHERE;
    REFUSED(GetQueuedCompletionStatus(port, &bytes, &key, &got, WSA_INFINITE), ERROR_ABANDONED_WAIT_0);
    CHECK(got == NULL);
    return NULL;
}

static void closing_it_ends_the_waits(void)
{
    scene_begin();
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    pthread_t threads[] = {start_thread(wait_at, port), start_thread(wait_at, port)};
    usleep(50000);
    CHECK(CloseHandle(port));
    join(threads[0]);
    join(threads[1]);
    REFUSED(CloseHandle(port), WSA_INVALID_HANDLE);
    scene_end();
}

static void a_socket_has_one_port(void)
{
    scene_begin();
    SOCKET socket = tcp();
    HANDLE port = port_of(socket), other = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    CHECK(CreateIoCompletionPort((HANDLE)socket, other, 1, 0) == NULL);
    EQUAL(WSAGetLastError(), WSA_INVALID_PARAMETER);
    CHECK(CreateIoCompletionPort((HANDLE)socket, port, KEY, 0) == NULL);
    EQUAL(WSAGetLastError(), WSA_INVALID_PARAMETER);
    EQUAL(closesocket(socket), 0);
    /* A new socket with the same number is another one. */
    SOCKET next = tcp();
    EQUAL(next, socket);
    CHECK(CreateIoCompletionPort((HANDLE)next, other, 1, 0) == other);
    EQUAL(closesocket(next), 0);
    CHECK(CloseHandle(port));
    CHECK(CloseHandle(other));
    scene_end();
}

/* The documented way to keep a completion from the port: an event with its lowest bit set. */
static void an_event_with_its_lowest_bit_set(void)
{
    scene_begin();
    struct redirected connection = redirected();
    HANDLE port = port_of(connection.accepted);
    WSAEVENT event = WSACreateEvent();
    WSAOVERLAPPED operation = {.hEvent = (WSAEVENT)((uintptr_t)event | 1)};
    unsigned char buffer[1024];
    DWORD count = 0;
    int result = overlapped_query(connection.accepted, buffer, sizeof buffer, &count, &operation, NULL);
    CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
    EQUAL(WSAWaitForMultipleEvents(1, &event, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
    expect_empty(port);
    CHECK(WSACloseEvent(event));
    CHECK(CloseHandle(port));
    close_both(connection);
    scene_end();
}

static void what_is_no_port(void)
{
    DWORD bytes;
    ULONG_PTR key;
    LPOVERLAPPED got = NOWHERE;
    scene_begin();
    REFUSED(GetQueuedCompletionStatus(NULL, &bytes, &key, &got, 0), WSA_INVALID_HANDLE);
    REFUSED(PostQueuedCompletionStatus(NOWHERE, 1, 2, NULL), WSA_INVALID_HANDLE);
    REFUSED(CloseHandle(NOWHERE), WSA_INVALID_HANDLE);
    WSAEVENT event = WSACreateEvent();
    REFUSED(PostQueuedCompletionStatus(event, 1, 2, NULL), WSA_INVALID_HANDLE);
    CHECK(CreateIoCompletionPort(INVALID_HANDLE_VALUE, event, 0, 0) == NULL);
    CHECK(WSACloseEvent(event));
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    CHECK(CreateIoCompletionPort((HANDLE)(uintptr_t)(1 << 20), port, 1, 0) == NULL);
    CHECK(CreateIoCompletionPort(NULL, port, 1, 0) == NULL);
    REFUSED(WSASetEvent(port), WSA_INVALID_HANDLE);
    CHECK(CloseHandle(port));
    scene_end();
}

TESTS(TEST(acme, a_packet_for_every_overlapped_call), TEST(acme, no_packet_for_a_synchronous_call),
      TEST(acme, a_pending_call_that_succeeds), TEST(acme, a_failure_comes_with_its_operation),
      TEST(acme, a_cancelled_call), TEST(none, posted_packets_come_in_order), TEST(none, closing_it_ends_the_waits),
      TEST(none, a_socket_has_one_port), TEST(acme, an_event_with_its_lowest_bit_set), TEST(none, what_is_no_port))
