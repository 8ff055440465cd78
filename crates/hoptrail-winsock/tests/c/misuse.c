/* What must not be done: it gives the documented error, or does no harm. */
#include "completion.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const DWORD codes[] = {SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT,
                              SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, SIO_FLUSH, SIO_GET_EXTENSION_FUNCTION_POINTER,
                              0, 0xFFFFFFFF};

/* Every pointer and size of the call, in every combination; it must return. */
static void every_argument_null_or_wrong(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    unsigned char buffer[1024];
    DWORD count;
    WSAOVERLAPPED operation = {0};
    void *inputs[] = {NULL, records.bytes, NOWHERE}, *outputs[] = {NULL, buffer, NOWHERE};
    void *counts[] = {NULL, &count, NOWHERE}, *operations[] = {NULL, &operation, NOWHERE};
    static const DWORD sizes[] = {0, 1, 240, 0x7FFFFFFF, 0xFFFFFFFF};
    SOCKET sockets[] = {connection.accepted, tcp(), INVALID_SOCKET};
    for (int n = 0; n < 7 * 3 * 3 * 3 * 3 * 5 * 5 * 3; n++) {
        int rest = n;
        DWORD code = codes[rest % 7];
        rest /= 7;
        void *input = inputs[rest % 3];
        rest /= 3;
        void *output = outputs[rest % 3];
        rest /= 3;
        void *number = counts[rest % 3];
        rest /= 3;
        void *overlapped = operations[rest % 3];
        rest /= 3;
        DWORD in_size = sizes[rest % 5];
        rest /= 5;
        DWORD out_size = sizes[rest % 5];
        rest /= 5;
        if (output == buffer && out_size > sizeof buffer) {
            continue;
        }
        int result = WSAIoctl(sockets[rest], code, input, in_size, output, out_size, number, overlapped, NULL);
        CHECK(result == 0 || result == SOCKET_ERROR);
        if (result == SOCKET_ERROR) {
            CHECK(WSAGetLastError() != 0 && WSAGetLastError() != WSA_IO_PENDING);
        }
    }
    EQUAL(closesocket(sockets[1]), 0);
    close_both(connection);
    scene_end();
}

static void every_function_with_nothing(void)
{
    DWORD count;
    scene_begin();
    SOCKET socket = tcp();
    EQUAL(WSAStartup(MAKEWORD(2, 2), NULL), WSAEFAULT);
    FAILS(WSARecvMsg(socket, NULL, &count, NULL, NULL), WSAEFAULT);
    FAILS(WSASendMsg(socket, NULL, 0, &count, NULL, NULL), WSAEFAULT);
    REFUSED(WSAGetOverlappedResult(socket, NULL, &count, FALSE, &count), WSAEFAULT);
    REFUSED(WSAGetOverlappedResult(socket, NOWHERE, &count, FALSE, &count), WSAEFAULT);
    REFUSED(WSASetEvent(NULL), WSA_INVALID_HANDLE);
    REFUSED(WSAResetEvent(NULL), WSA_INVALID_HANDLE);
    REFUSED(WSACloseEvent(NULL), WSA_INVALID_HANDLE);
    REFUSED(WSASetEvent(NOWHERE), WSA_INVALID_HANDLE);
    REFUSED(CloseHandle(NULL), WSA_INVALID_HANDLE);
    EQUAL(WSAWaitForMultipleEvents(1, NULL, FALSE, 0, FALSE), WSA_WAIT_FAILED);
    EQUAL(WSAGetLastError(), WSAEFAULT);
    EQUAL(WSAWaitForMultipleEvents(1, NOWHERE, FALSE, 0, FALSE), WSA_WAIT_FAILED);
    EQUAL(WSAWaitForMultipleEvents(0, NULL, FALSE, 0, FALSE), WSA_WAIT_FAILED);
    EQUAL(WSAGetLastError(), WSA_INVALID_PARAMETER);
    WSAEVENT events[WSA_MAXIMUM_WAIT_EVENTS + 1] = {NULL};
    EQUAL(WSAWaitForMultipleEvents(WSA_MAXIMUM_WAIT_EVENTS + 1, events, FALSE, 0, FALSE), WSA_WAIT_FAILED);
    EQUAL(WSAGetLastError(), WSA_INVALID_PARAMETER);
    EQUAL(WSAWaitForMultipleEvents(1, events, FALSE, 0, FALSE), WSA_WAIT_FAILED);
    EQUAL(WSAGetLastError(), WSA_INVALID_HANDLE);
    EQUAL(closesocket(socket), 0);
    scene_end();
}

static void closed_twice(void)
{
    scene_begin();
    SOCKET socket = tcp();
    EQUAL(closesocket(socket), 0);
    FAILS(closesocket(socket), WSAENOTSOCK);
    WSAEVENT event = WSACreateEvent();
    CHECK(WSACloseEvent(event));
    REFUSED(WSACloseEvent(event), WSA_INVALID_HANDLE);
    REFUSED(WSASetEvent(event), WSA_INVALID_HANDLE);
    EQUAL(WSAWaitForMultipleEvents(1, &event, FALSE, 0, FALSE), WSA_WAIT_FAILED);
    /* A new event is not taken for the old one. */
    WSAEVENT next = WSACreateEvent();
    REFUSED(WSASetEvent(event), WSA_INVALID_HANDLE);
    CHECK(!is_signalled(next));
    CHECK(WSACloseEvent(next));
    scene_end();
}

static void an_event_closed_while_pending(void)
{
    struct pending query;
    scene_begin();
    pend_flow(&query, NULL);
    CHECK(WSACloseEvent(query.operation.hEvent));
    WSAEVENT next = WSACreateEvent();
    begin_flow(&query);
    while (!HasOverlappedIoCompleted(&query.operation)) {
        usleep(1000);
    }
    CHECK(!is_signalled(next));
    CHECK(WSACloseEvent(next));
    query.operation.hEvent = NULL;
    forget_flow(&query);
    scene_end();
}

static void an_event_that_is_none(void)
{
    scene_begin();
    struct redirected connection = redirected();
    WSAOVERLAPPED operation = {.hEvent = (WSAEVENT)(uintptr_t)0x5550};
    unsigned char buffer[1024];
    DWORD count = 77, length = 77, flags;
    int result = overlapped_query(connection.accepted, buffer, sizeof buffer, &count, &operation, NULL);
    /* Windows finds it before it begins, or ignores it: it does nothing else. */
    CHECK(result == 0 || WSAGetLastError() == WSA_INVALID_HANDLE || WSAGetLastError() == WSA_IO_PENDING);
    (void)WSAGetOverlappedResult(connection.accepted, &operation, &length, FALSE, &flags);
    close_both(connection);
    scene_end();
}

/* The memory of an OVERLAPPED and its buffer is gone before the call has ended. */
static void memory_gone_while_pending(void)
{
    struct pending query;
    DWORD count = 0;
    scene_begin();
    SOCKET socket = flow_sockets(&query);
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    WSAOVERLAPPED *operation = (WSAOVERLAPPED *)pages;
    WSAEVENT event = WSACreateEvent();
    memset(operation, 0, sizeof *operation);
    operation->hEvent = event;
    FAILS(overlapped_query(socket, pages + 4096, 1024, &count, operation, NULL), WSA_IO_PENDING);
    EQUAL(mprotect(pages, 8192, PROT_NONE), 0); /* unmapped, it would be given to others */
    begin_flow(&query);
    EQUAL(WSAWaitForMultipleEvents(1, &event, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
    CHECK(WSACloseEvent(event));
    close_flow(&query);
    scene_end();
}

/* A buffer that has become read-only, or has gone: the call ends with the fault. */
static void a_buffer_gone_while_pending(void)
{
    struct pending query;
    DWORD count = 0, length = 77;
    scene_begin();
    SOCKET socket = flow_sockets(&query);
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    WSAOVERLAPPED operation = {.hEvent = WSACreateEvent()};
    FAILS(overlapped_query(socket, page, 1024, &count, &operation, NULL), WSA_IO_PENDING);
    EQUAL(mprotect(page, 4096, PROT_READ), 0);
    begin_flow(&query);
    EQUAL(result_of(socket, &operation, &length), WSAEFAULT);
    EQUAL(length, 77);
    CHECK(WSACloseEvent(operation.hEvent));
    close_flow(&query);
    scene_end();
}

/* close(2) goes past the library: the call ends nevertheless, and never touches who got the number next. */
static void closed_behind_the_librarys_back(void)
{
    struct pending query;
    DWORD length = 77;
    scene_begin();
    pend(&query, NULL);
    int number = (int)query.connecting.socket;
    close(number);
    SOCKET next = tcp();
    EQUAL((int)next, number);
    WSAOVERLAPPED operation = {.hEvent = WSACreateEvent()};
    unsigned char buffer[1024];
    DWORD count;
    FAILS(overlapped_query(next, buffer, sizeof buffer, &count, &operation, NULL), WSAENOTCONN);
    EQUAL(closesocket(next), 0);
    WSAWaitForMultipleEvents(1, &query.operation.hEvent, TRUE, WSA_INFINITE, FALSE);
    int error = result_of(next, &query.operation, &length);
    EQUAL(error, WSA_OPERATION_ABORTED);
    CHECK(WSACloseEvent(operation.hEvent));
    forget(&query);
    scene_end();
}

/* The same OVERLAPPED for two calls at once is a mistake that Windows does not find: nothing hangs. */
static void one_overlapped_for_two_calls(void)
{
    struct pending query;
    DWORD count, length;
    scene_begin();
    pend_flow(&query, NULL);
    EQUAL(overlapped_query(query.connecting.socket, query.buffer, sizeof query.buffer, &count, &query.operation, NULL),
          SOCKET_ERROR);
    begin_flow(&query);
    EQUAL(result_of(query.connecting.socket, &query.operation, &length), 0);
    CancelIoEx((HANDLE)query.connecting.socket, NULL);
    SleepEx(20, TRUE);
    forget_flow(&query);
    scene_end();
}

static void an_overlapped_never_used(void)
{
    scene_begin();
    SOCKET socket = tcp();
    WSAOVERLAPPED operation = {0};
    DWORD length = 77, flags = 0;
    /* All zeroes say: ended, successfully, with nothing. */
    BOOL result = WSAGetOverlappedResult(socket, &operation, &length, FALSE, &flags);
    CHECK(result ? length == 0 : length == 77);
    REFUSED(CancelIoEx((HANDLE)socket, &operation), ERROR_NOT_FOUND);
    REFUSED(CancelIoEx((HANDLE)(intptr_t)-1, NULL), WSA_INVALID_HANDLE);
    EQUAL(closesocket(socket), 0);
    scene_end();
}

static void CALLBACK close_inside(DWORD error, DWORD transferred, LPWSAOVERLAPPED operation, DWORD flags)
{
    struct pending *query = (struct pending *)((char *)operation - offsetof(struct pending, operation));
    remember(error, transferred, operation, flags);
    EQUAL(closesocket(query->connecting.socket), 0);
    EQUAL(SleepEx(0, TRUE), 0);
}

static void a_routine_that_closes_its_socket(void)
{
    struct pending query;
    scene_begin();
    last.runs = 0;
    pend(&query, close_inside);
    settle(&query);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    EQUAL(last.runs, 1);
    FAILS(closesocket(query.connecting.socket), WSAENOTSOCK);
    forget(&query);
    scene_end();
}

static void sizes_of_gigabytes(void)
{
    scene_begin();
    struct redirected connection = redirected();
    SOCKET upstream = tcp();
    static unsigned char buffer[65536];
    DWORD count;
    static const DWORD sizes[] = {65536, 0x40000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int set = WSAIoctl(upstream, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, buffer, sizes[i], NULL, 0, &count, NULL,
                           NULL);
        EQUAL(set, SOCKET_ERROR);
        CHECK(WSAGetLastError() == WSAEINVAL || WSAGetLastError() == WSAEFAULT);
    }
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

TESTS(TEST(acme, every_argument_null_or_wrong), TEST(none, every_function_with_nothing), TEST(none, closed_twice),
      TEST(acme, an_event_closed_while_pending), TEST(acme, an_event_that_is_none),
      TEST(acme, memory_gone_while_pending), TEST(acme, a_buffer_gone_while_pending),
      TEST(acme, closed_behind_the_librarys_back), TEST(acme, one_overlapped_for_two_calls),
      TEST(acme, an_overlapped_never_used), TEST(acme, a_routine_that_closes_its_socket),
      TEST(acme, sizes_of_gigabytes))
