/* Overlapped calls: statements 81 to 90 and 92 of docs/conformance.md; 91 is in provider.c. */
#include "completion.h"

#include <string.h>
#include <unistd.h>

static void no_routine_runs(void)
{
    last.runs = 0;
    EQUAL(SleepEx(0, TRUE), 0);
    EQUAL(last.runs, 0);
}

/* A connection whose ends were made without the attribute, on the proxy's side. */
static struct redirected redirected_without_attribute(void)
{
    be("acme");
    SOCKET listener = plain_tcp();
    struct sockaddr_in at = listener_of("acme");
    EQUAL(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    EQUAL(listen(listener, 8), 0);
    struct redirected made = redirect(listener, 80);
    EQUAL(closesocket(listener), 0);
    return made;
}

static void statement_81_without_the_attribute_it_is_synchronous(void)
{
    scene_begin();
    struct redirected connection = redirected_without_attribute();
    struct blob records = records_of(connection.accepted);
    WSAOVERLAPPED operation, before;
    unsigned char buffer[1024];
    DWORD count = 0;
    check_fill(&operation, sizeof operation);
    operation.hEvent = WSACreateEvent();
    before = operation;
    EQUAL(overlapped_query(connection.accepted, buffer, sizeof buffer, &count, &operation, NULL), 0);
    EQUAL(count, records.size);
    SAME(buffer, records.bytes, count);
    CHECK(!is_signalled(operation.hEvent));
    EQUAL(overlapped_query(connection.accepted, buffer, sizeof buffer, &count, &operation, remember), 0);
    EQUAL(count, records.size);
    no_routine_runs();
    SAME(&operation, &before, sizeof operation);
    /* What is ignored need not be there. */
    EQUAL(overlapped_query(connection.accepted, buffer, sizeof buffer, &count, NOWHERE, NULL), 0);
    EQUAL(count, records.size);
    FAILS(overlapped_query(connection.accepted, NULL, 0, &count, &operation, remember), ERROR_INSUFFICIENT_BUFFER);
    EQUAL(count, records.size);
    no_routine_runs();
    CHECK(WSACloseEvent(operation.hEvent));
    close_both(connection);
    scene_end();
}

struct blocking {
    SOCKET socket;
    int result, error;
    volatile int ended;
};

static void *ask_and_wait(void *argument)
{
    struct blocking *call = argument;
    unsigned char buffer[1024];
    DWORD count = 0;
    WSAOVERLAPPED operation = {0};
    call->result = overlapped_query(call->socket, buffer, sizeof buffer, &count, &operation, remember);
    call->error = WSAGetLastError();
    call->ended = 1;
    return NULL;
}

/* A call that would be pending blocks instead. */
static void statement_81_it_blocks_where_it_would_be_pending(void)
{
    scene_begin();
    struct unanswered connecting = unanswered(plain_tcp());
    struct blocking call = {.socket = connecting.socket};
    last.runs = 0;
    pthread_t thread = start_thread(ask_and_wait, &call);
    usleep(50000);
    EQUAL(call.ended, 0);
    answer(&connecting);
    join(thread);
    EQUAL(call.result, SOCKET_ERROR);
    EQUAL(call.error, WSAEINVAL);
    EQUAL(last.runs, 0);
    close(connecting.listener);
    close(connecting.filler);
    EQUAL(closesocket(connecting.socket), 0);
    scene_end();
}

static void statement_82_without_overlapped_it_is_synchronous(void)
{
    scene_begin();
    struct redirected connection = redirected();
    unsigned char buffer[1024];
    DWORD count = 0;
    EQUAL(overlapped_query(connection.accepted, buffer, sizeof buffer, &count, NULL, NULL), 0);
    EQUAL(count, RECORDS_HEADER + RECORDS_HOP);
    close_both(connection);
    scene_end();
}

static void statement_83_with_an_event(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    WSAOVERLAPPED operation = {.hEvent = WSACreateEvent()};
    unsigned char buffer[1024];
    DWORD count = 0, length = 0;
    CHECK(!is_signalled(operation.hEvent));
    int result = overlapped_query(connection.accepted, buffer, sizeof buffer, &count, &operation, NULL);
    if (result == 0) {
        EQUAL(count, records.size);
        CHECK(is_signalled(operation.hEvent));
    } else {
        EQUAL(WSAGetLastError(), WSA_IO_PENDING);
    }
    EQUAL(WSAWaitForMultipleEvents(1, &operation.hEvent, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
    EQUAL(result_of(connection.accepted, &operation, &length), 0);
    EQUAL(length, records.size);
    SAME(buffer, records.bytes, length);
    /* A manual-reset event stays signalled; the next call resets it when it begins. */
    CHECK(is_signalled(operation.hEvent));
    CHECK(WSAResetEvent(operation.hEvent));
    CHECK(!is_signalled(operation.hEvent));
    CHECK(WSACloseEvent(operation.hEvent));
    close_both(connection);
    scene_end();
}

static void statement_83_pending_and_signalled_later(void)
{
    struct pending query;
    DWORD length = 77;
    scene_begin();
    pend(&query, NULL);
    CHECK(!is_signalled(query.operation.hEvent));
    settle(&query);
    EQUAL(WSAWaitForMultipleEvents(1, &query.operation.hEvent, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
    EQUAL(result_of(query.connecting.socket, &query.operation, &length), WSAEINVAL);
    EQUAL(length, 77);
    forget(&query);
    scene_end();
}

static void statement_84_waited_for(void)
{
    struct pending query;
    DWORD length = 77, flags = 77;
    scene_begin();
    pend_flow(&query, NULL);
    CHECK(!is_signalled(query.operation.hEvent));
    begin_flow(&query);
    CHECK(WSAGetOverlappedResult(query.connecting.socket, &query.operation, &length, TRUE, &flags));
    EQUAL(length, RECORDS_HEADER + RECORDS_HOP);
    EQUAL(flags, 0);
    CHECK(is_signalled(query.operation.hEvent));
    /* And once more. */
    length = 0;
    CHECK(WSAGetOverlappedResult(query.connecting.socket, &query.operation, &length, FALSE, &flags));
    EQUAL(length, RECORDS_HEADER + RECORDS_HOP);
    forget_flow(&query);
    scene_end();
}

static void statement_85_not_finished(void)
{
    struct pending query;
    DWORD length = 77, flags = 77;
    scene_begin();
    pend(&query, NULL);
    CHECK(!HasOverlappedIoCompleted(&query.operation));
    for (int i = 0; i < 3; i++) {
        REFUSED(WSAGetOverlappedResult(query.connecting.socket, &query.operation, &length, FALSE, &flags),
                WSA_IO_INCOMPLETE);
        EQUAL(length, 77);
    }
    settle(&query);
    EQUAL(result_of(query.connecting.socket, &query.operation, &length), WSAEINVAL);
    CHECK(HasOverlappedIoCompleted(&query.operation));
    EQUAL(length, 77);
    forget(&query);
    scene_end();
}

static void statement_86_a_completion_routine(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    WSAOVERLAPPED operation = {.hEvent = (WSAEVENT)(uintptr_t)0x1234}; /* the routine's owner's own */
    unsigned char buffer[1024];
    DWORD count = 0;
    last.runs = 0;
    int result = overlapped_query(connection.accepted, buffer, sizeof buffer, &count, &operation, remember);
    CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
    EQUAL(last.runs, 0);
    /* Waits that are not alertable do not run it. */
    WSAEVENT never = WSACreateEvent();
    EQUAL(WSAWaitForMultipleEvents(1, &never, FALSE, 20, FALSE), WSA_WAIT_TIMEOUT);
    EQUAL(SleepEx(20, FALSE), 0);
    EQUAL(last.runs, 0);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    EQUAL(last.runs, 1);
    EQUAL(last.error, 0);
    EQUAL(last.transferred, records.size);
    EQUAL(last.flags, 0);
    CHECK(last.operation == &operation);
    CHECK(pthread_equal(last.thread, pthread_self()));
    CHECK(operation.hEvent == (WSAEVENT)(uintptr_t)0x1234);
    SAME(buffer, records.bytes, records.size);
    EQUAL(SleepEx(0, TRUE), 0);
    EQUAL(last.runs, 1);
    CHECK(WSACloseEvent(never));
    close_both(connection);
    scene_end();
}

static void statement_86_of_a_pending_call(void)
{
    struct pending query;
    scene_begin();
    last.runs = 0;
    pend(&query, remember);
    EQUAL(SleepEx(0, TRUE), 0);
    settle(&query);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    EQUAL(last.runs, 1);
    EQUAL(last.error, WSAEINVAL);
    EQUAL(last.transferred, 0);
    CHECK(last.operation == &query.operation);
    EQUAL(SleepEx(0, TRUE), 0);
    EQUAL(last.runs, 1);
    forget(&query);
    scene_end();
}

static void statement_86_of_a_call_that_succeeds_later(void)
{
    struct pending query;
    scene_begin();
    last.runs = 0;
    pend_flow(&query, remember);
    EQUAL(SleepEx(0, TRUE), 0);
    begin_flow(&query);
    EQUAL(SleepEx(20, FALSE), 0);
    EQUAL(last.runs, 0);
    WSAEVENT never = WSACreateEvent();
    EQUAL(WSAWaitForMultipleEvents(1, &never, FALSE, WSA_INFINITE, TRUE), WSA_WAIT_IO_COMPLETION);
    EQUAL(last.runs, 1);
    EQUAL(last.error, 0);
    EQUAL(last.transferred, RECORDS_HEADER + RECORDS_HOP);
    EQUAL(last.flags, 0);
    CHECK(last.operation == &query.operation);
    CHECK(WSACloseEvent(never));
    forget_flow(&query);
    scene_end();
}

static void statement_87_the_socket_is_closed(void)
{
    struct pending query;
    DWORD length = 77;
    scene_begin();
    pend(&query, NULL);
    SOCKET socket = query.connecting.socket;
    EQUAL(closesocket(socket), 0);
    EQUAL(WSAWaitForMultipleEvents(1, &query.operation.hEvent, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
    EQUAL(result_of(socket, &query.operation, &length), WSA_OPERATION_ABORTED);
    EQUAL(length, 77);
    forget(&query);
    scene_end();
}

static void *pend_and_exit(void *query)
{
    pend(query, NULL);
    return NULL;
}

static void statement_88_the_thread_ends(void)
{
    struct pending query;
    DWORD length = 77;
    scene_begin();
    join(start_thread(pend_and_exit, &query));
    EQUAL(WSAWaitForMultipleEvents(1, &query.operation.hEvent, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
    EQUAL(result_of(query.connecting.socket, &query.operation, &length), WSA_OPERATION_ABORTED);
    forget(&query);
    scene_end();
}

static void statement_89_a_failure_is_never_success(void)
{
    int client;
    scene_begin();
    SOCKET accepted = direct(&client);
    WSAOVERLAPPED operation = {.hEvent = WSACreateEvent()};
    unsigned char buffer[1024];
    DWORD count = 77, length = 77;
    check_fill(buffer, sizeof buffer);
    EQUAL(overlapped_query(accepted, buffer, sizeof buffer, &count, &operation, NULL), SOCKET_ERROR);
    int error = WSAGetLastError();
    if (error == WSA_IO_PENDING) {
        error = result_of(accepted, &operation, &length);
    } else {
        EQUAL(count, 0);
    }
    EQUAL(error, WSAEINVAL);
    EQUAL(length, 77);
    UNTOUCHED(buffer, sizeof buffer);
    CHECK(WSACloseEvent(operation.hEvent));
    close_both((struct redirected){client, accepted});
    scene_end();
}

static void statement_90_a_short_buffer(void)
{
    static const DWORD rooms[] = {0, 1, 3, 4, 239};
    scene_begin();
    struct redirected connection = redirected();
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        WSAOVERLAPPED operation = {.hEvent = WSACreateEvent()};
        unsigned char buffer[1024];
        DWORD count = 77, expected = 77;
        check_fill(buffer, sizeof buffer);
        FAILS(overlapped_query(connection.accepted, buffer, rooms[i], &expected, NULL, NULL),
              rooms[i] == 1 || rooms[i] == 3 ? WSAEINVAL : ERROR_INSUFFICIENT_BUFFER);
        int synchronous = WSAGetLastError();
        EQUAL(overlapped_query(connection.accepted, buffer, rooms[i], &count, &operation, NULL), SOCKET_ERROR);
        int error = WSAGetLastError();
        if (error == WSA_IO_PENDING) {
            error = result_of(connection.accepted, &operation, &count);
        } else {
            EQUAL(count, expected);
        }
        EQUAL(error, synchronous);
        UNTOUCHED(buffer, sizeof buffer);
        CHECK(WSACloseEvent(operation.hEvent));
    }
    close_both(connection);
    scene_end();
}

static void statement_92_connect_after_an_overlapped_set(void)
{
    scene_begin();
    SOCKET destination = listening("origin", address("192.0.2.10", 80));
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    WSAOVERLAPPED operation = {.hEvent = WSACreateEvent()};
    DWORD count = 0, length = 77;
    int result = WSAIoctl(upstream, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, records.bytes, records.size, NULL, 0,
                          &count, &operation, NULL);
    CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
    EQUAL(result_of(upstream, &operation, &length), 0);
    EQUAL(length, 0);
    struct sockaddr_in to = address("192.0.2.10", 80);
    EQUAL(connect(upstream, (struct sockaddr *)&to, sizeof to), 0);
    SOCKET end = accept(destination, NULL, NULL);
    say((int)upstream, "arrived");
    hear((int)end, "arrived");
    CHECK(WSACloseEvent(operation.hEvent));
    EQUAL(closesocket(end), 0);
    EQUAL(closesocket(upstream), 0);
    EQUAL(closesocket(destination), 0);
    close_both(connection);
    scene_end();
}

TESTS(TEST(acme, statement_81_without_the_attribute_it_is_synchronous),
      TEST(acme, statement_81_it_blocks_where_it_would_be_pending),
      TEST(acme, statement_82_without_overlapped_it_is_synchronous), TEST(acme, statement_83_with_an_event),
      TEST(acme, statement_83_pending_and_signalled_later), TEST(acme, statement_84_waited_for), TEST(acme, statement_85_not_finished),
      TEST(acme, statement_86_a_completion_routine), TEST(acme, statement_86_of_a_pending_call), TEST(acme, statement_86_of_a_call_that_succeeds_later),
      TEST(acme, statement_87_the_socket_is_closed), TEST(acme, statement_88_the_thread_ends),
      TEST(acme, statement_89_a_failure_is_never_success), TEST(acme, statement_90_a_short_buffer),
      TEST(acme, statement_92_connect_after_an_overlapped_set))
