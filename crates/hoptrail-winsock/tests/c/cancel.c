/* Every way to cancel, and how each method of completion tells of it. */
#include "completion.h"

#include <unistd.h>

static void expect_aborted(struct pending *query)
{
    DWORD length = 77;
    EQUAL(WSAWaitForMultipleEvents(1, &query->operation.hEvent, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
    EQUAL(result_of(query->connecting.socket, &query->operation, &length), WSA_OPERATION_ABORTED);
    EQUAL(length, 77);
}

static int flush(SOCKET socket)
{
    DWORD count = 77;
    return WSAIoctl(socket, SIO_FLUSH, NULL, 0, NULL, 0, &count, NULL, NULL);
}

static void sio_flush_cancels(void)
{
    struct pending query;
    scene_begin();
    pend(&query, NULL);
    EQUAL(flush(query.connecting.socket), 0);
    expect_aborted(&query);
    EQUAL(flush(query.connecting.socket), 0);
    forget(&query);
    scene_end();
}

static void sio_flush_leaves_other_sockets_alone(void)
{
    struct pending one, other;
    scene_begin();
    pend(&one, NULL);
    pend(&other, NULL);
    EQUAL(flush(one.connecting.socket), 0);
    expect_aborted(&one);
    CHECK(!is_signalled(other.operation.hEvent));
    settle(&other);
    DWORD length = 77;
    EQUAL(result_of(other.connecting.socket, &other.operation, &length), WSAEINVAL);
    forget(&one);
    forget(&other);
    scene_end();
}

static void cancel_io_ex_cancels_one(void)
{
    struct pending query;
    unsigned char buffer[1024];
    DWORD count = 0, length = 77;
    scene_begin();
    pend(&query, NULL);
    WSAOVERLAPPED second = {.hEvent = WSACreateEvent()};
    SOCKET socket = query.connecting.socket;
    FAILS(overlapped_query(socket, buffer, sizeof buffer, &count, &second, NULL), WSA_IO_PENDING);
    CHECK(CancelIoEx((HANDLE)socket, &query.operation));
    expect_aborted(&query);
    CHECK(!is_signalled(second.hEvent));
    REFUSED(CancelIoEx((HANDLE)socket, &query.operation), ERROR_NOT_FOUND);
    CHECK(CancelIoEx((HANDLE)socket, NULL));
    EQUAL(result_of(socket, &second, &length), WSA_OPERATION_ABORTED);
    REFUSED(CancelIoEx((HANDLE)socket, NULL), ERROR_NOT_FOUND);
    CHECK(WSACloseEvent(second.hEvent));
    forget(&query);
    scene_end();
}

static void *cancel_all(void *socket)
{
    CHECK(CancelIoEx(socket, NULL));
    return NULL;
}

static void cancel_io_ex_from_another_thread(void)
{
    struct pending query;
    scene_begin();
    pend(&query, NULL);
    join(start_thread(cancel_all, (HANDLE)query.connecting.socket));
    expect_aborted(&query);
    forget(&query);
    scene_end();
}

static void closing_cancels_all_of_a_socket(void)
{
    enum { MORE = 30 };
    struct pending query;
    WSAOVERLAPPED operations[MORE];
    static unsigned char buffer[MORE][1024];
    scene_begin();
    pend(&query, NULL);
    SOCKET socket = query.connecting.socket;
    for (int i = 0; i < MORE; i++) {
        DWORD count;
        operations[i] = (WSAOVERLAPPED){.hEvent = WSACreateEvent()};
        FAILS(overlapped_query(socket, buffer[i], sizeof buffer[i], &count, &operations[i], NULL), WSA_IO_PENDING);
    }
    EQUAL(closesocket(socket), 0);
    expect_aborted(&query);
    for (int i = 0; i < MORE; i++) {
        DWORD length = 77;
        EQUAL(WSAWaitForMultipleEvents(1, &operations[i].hEvent, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
        EQUAL(result_of(socket, &operations[i], &length), WSA_OPERATION_ABORTED);
        CHECK(WSACloseEvent(operations[i].hEvent));
    }
    forget(&query);
    scene_end();
}

static void a_routine_is_told(void)
{
    struct pending query;
    scene_begin();
    last.runs = 0;
    pend(&query, remember);
    EQUAL(closesocket(query.connecting.socket), 0);
    EQUAL(last.runs, 0);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    EQUAL(last.runs, 1);
    EQUAL(last.error, WSA_OPERATION_ABORTED);
    EQUAL(last.transferred, 0);
    forget(&query);
    scene_end();
}

static void *pend_with_routine_and_exit(void *query)
{
    pend(query, remember);
    return NULL;
}

/* Whoever would run the routine is gone. */
static void a_routine_of_an_ended_thread_never_runs(void)
{
    struct pending query;
    scene_begin();
    last.runs = 0;
    join(start_thread(pend_with_routine_and_exit, &query));
    settle(&query);
    EQUAL(SleepEx(20, TRUE), 0);
    EQUAL(last.runs, 0);
    EQUAL(closesocket(query.connecting.socket), 0);
    forget(&query);
    scene_end();
}

/* What is done before the cancel comes stays done. */
static void a_completed_call_is_not_cancelled(void)
{
    struct pending query;
    DWORD length = 77;
    scene_begin();
    pend_flow(&query, NULL);
    begin_flow(&query);
    EQUAL(WSAWaitForMultipleEvents(1, &query.operation.hEvent, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
    REFUSED(CancelIoEx((HANDLE)query.connecting.socket, &query.operation), ERROR_NOT_FOUND);
    EQUAL(flush(query.connecting.socket), 0);
    EQUAL(result_of(query.connecting.socket, &query.operation, &length), 0);
    EQUAL(length, RECORDS_HEADER + RECORDS_HOP);
    forget_flow(&query);
    scene_end();
}

/* After the last WSACleanup nothing is pending any more. */
static void cleanup_cancels(void)
{
    struct pending query;
    DWORD length = 77, flags;
    WSADATA data;
    scene_begin();
    pend(&query, NULL);
    scene_end();
    EQUAL(WSAStartup(MAKEWORD(2, 2), &data), 0);
    REFUSED(WSAGetOverlappedResult(query.connecting.socket, &query.operation, &length, FALSE, &flags),
            WSA_OPERATION_ABORTED);
    UNTOUCHED(query.buffer, sizeof query.buffer);
    close(query.connecting.listener);
    close(query.connecting.filler);
    scene_end();
}

TESTS(TEST(acme, sio_flush_cancels), TEST(acme, sio_flush_leaves_other_sockets_alone),
      TEST(acme, cancel_io_ex_cancels_one), TEST(acme, cancel_io_ex_from_another_thread),
      TEST(acme, closing_cancels_all_of_a_socket), TEST(acme, a_routine_is_told),
      TEST(acme, a_routine_of_an_ended_thread_never_runs), TEST(acme, a_completed_call_is_not_cancelled),
      TEST(acme, cleanup_cancels))
