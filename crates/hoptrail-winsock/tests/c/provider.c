/* The provider's side: WSPIoctl and the upcalls for routines. Statement 91 of docs/conformance.md. */
#include "completion.h"

#include <string.h>
#include <unistd.h>

enum { RECORDS_SIZE = RECORDS_HEADER + RECORDS_HOP };

static int ask(SOCKET socket, void *buffer, DWORD room, DWORD *count, WSAOVERLAPPED *operation,
               LPWSAOVERLAPPED_COMPLETION_ROUTINE routine, WSATHREADID *thread, INT *error)
{
    return WSPIoctl(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, NULL, 0, buffer, room, count, operation,
                    routine, thread, error);
}

static WSATHREADID this_thread(void)
{
    WSATHREADID thread;
    INT error = 77;
    EQUAL(WPUOpenCurrentThread(&thread, &error), 0);
    return thread;
}

static void close_thread(WSATHREADID *thread)
{
    INT error = 77;
    EQUAL(WPUCloseThread(thread, &error), 0);
}

static void statement_91_the_error_and_the_thread_id(void)
{
    struct pending query;
    unsigned char buffer[1024];
    DWORD count = 0;
    INT error = 77;
    scene_begin();
    /* The error is in *lpErrno, and WSAGetLastError does not change. */
    struct redirected connection = redirected();
    WSASetLastError(4711);
    EQUAL(ask(INVALID_SOCKET, buffer, sizeof buffer, &count, NULL, NULL, NULL, &error), SOCKET_ERROR);
    EQUAL(error, WSAENOTSOCK);
    EQUAL(ask(connection.accepted, buffer, 16, &count, NULL, NULL, NULL, &error), SOCKET_ERROR);
    EQUAL(error, ERROR_INSUFFICIENT_BUFFER);
    EQUAL(count, RECORDS_SIZE);
    EQUAL(ask(connection.accepted, buffer, sizeof buffer, NULL, NULL, NULL, NULL, &error), SOCKET_ERROR);
    EQUAL(error, WSAEFAULT);
    EQUAL(WSAGetLastError(), 4711);
    EQUAL(ask(connection.accepted, buffer, sizeof buffer, &count, NULL, NULL, NULL, &error), 0);
    EQUAL(count, RECORDS_SIZE);
    close_both(connection);
    /* The thread id may be overwritten as soon as the call has returned. */
    WSATHREADID thread = this_thread(), keep = thread;
    last.runs = 0;
    query.connecting = unanswered(tcp());
    memset(&query.operation, 0, sizeof query.operation);
    check_fill(query.buffer, sizeof query.buffer);
    EQUAL(ask(query.connecting.socket, query.buffer, sizeof query.buffer, &query.count, &query.operation, remember,
              &thread, &error),
          SOCKET_ERROR);
    EQUAL(error, WSA_IO_PENDING);
    check_fill(&thread, sizeof thread);
    settle(&query);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    EQUAL(last.runs, 1);
    EQUAL(last.error, WSAEINVAL);
    close_thread(&keep);
    forget(&query);
    scene_end();
}

static void all_three_codes(void)
{
    struct blob records;
    unsigned char buffer[1024];
    DWORD count = 0;
    INT error = 77;
    scene_begin();
    struct redirected connection = redirected();
    SOCKET upstream = tcp();
    EQUAL(ask(connection.accepted, records.bytes, sizeof records.bytes, &records.size, NULL, NULL, NULL, &error), 0);
    EQUAL(WSPIoctl(connection.accepted, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, NULL, 0, buffer, sizeof buffer,
                   &count, NULL, NULL, NULL, &error),
          0);
    CHECK(count > CONTEXT_HEADER);
    EQUAL(WSPIoctl(upstream, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, records.bytes, records.size, NULL, 0, &count,
                   NULL, NULL, NULL, &error),
          0);
    EQUAL(records_of(upstream).size, records.size);
    EQUAL(WSPIoctl(upstream, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, records.bytes, 12, NULL, 0, &count, NULL, NULL,
                   NULL, &error),
          SOCKET_ERROR);
    EQUAL(error, WSAEINVAL);
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

static struct {
    int runs;
    DWORD_PTR context;
    pthread_t thread;
} user;

static void CALLBACK user_routine(DWORD_PTR context)
{
    user.runs++;
    user.context = context;
    user.thread = pthread_self();
}

static void *queue(void *thread)
{
    INT error = 77;
    EQUAL(WPUQueueApc(thread, user_routine, 4711, &error), 0);
    return NULL;
}

/* From another thread, as a provider does. */
static void a_routine_is_queued_to_a_thread(void)
{
    scene_begin();
    WSATHREADID thread = this_thread();
    user.runs = 0;
    join(start_thread(queue, &thread));
    EQUAL(SleepEx(20, FALSE), 0);
    EQUAL(user.runs, 0);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    EQUAL(user.runs, 1);
    EQUAL(user.context, 4711);
    CHECK(pthread_equal(user.thread, pthread_self()));
    close_thread(&thread);
    scene_end();
}

static void *sleep_until_queued(void *argument)
{
    WSATHREADID *thread = argument;
    WSATHREADID own = this_thread();
    *thread = own;
    __atomic_store_n((int *)&user.runs, -1, __ATOMIC_RELEASE);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    return NULL;
}

static void it_ends_the_wait_of_a_sleeping_thread(void)
{
    WSATHREADID thread;
    scene_begin();
    user.runs = 0;
    pthread_t sleeper = start_thread(sleep_until_queued, &thread);
    while (__atomic_load_n((int *)&user.runs, __ATOMIC_ACQUIRE) != -1) {
        usleep(1000);
    }
    queue(&thread);
    join(sleeper);
    EQUAL(user.runs, 0);
    CHECK(!pthread_equal(user.thread, pthread_self()));
    close_thread(&thread);
    scene_end();
}

static void *give_thread(void *thread)
{
    *(WSATHREADID *)thread = this_thread();
    return NULL;
}

/* Of a thread that has ended, that was closed, that is none. */
static void a_thread_that_is_not_there(void)
{
    WSATHREADID thread, none = {0};
    INT error = 77;
    scene_begin();
    join(start_thread(give_thread, &thread));
    user.runs = 0;
    EQUAL(WPUQueueApc(&thread, user_routine, 1, &error), SOCKET_ERROR);
    CHECK(error != 77 && error != 0);
    close_thread(&thread);
    error = 77;
    EQUAL(WPUQueueApc(&thread, user_routine, 1, &error), SOCKET_ERROR);
    CHECK(error != 77 && error != 0);
    EQUAL(WPUQueueApc(&none, user_routine, 1, &error), SOCKET_ERROR);
    EQUAL(WPUQueueApc(NULL, user_routine, 1, &error), SOCKET_ERROR);
    EQUAL(error, WSAEFAULT);
    EQUAL(WPUQueueApc(NOWHERE, user_routine, 1, &error), SOCKET_ERROR);
    EQUAL(error, WSAEFAULT);
    EQUAL(WPUCloseThread(&thread, &error), SOCKET_ERROR);
    EQUAL(SleepEx(0, TRUE), 0);
    EQUAL(user.runs, 0);
    scene_end();
}

/* No place for the error: the call fails, and that is all. */
static void no_place_for_the_error(void)
{
    unsigned char buffer[1024];
    DWORD count;
    scene_begin();
    struct redirected connection = redirected();
    EQUAL(ask(INVALID_SOCKET, buffer, sizeof buffer, &count, NULL, NULL, NULL, NULL), SOCKET_ERROR);
    EQUAL(ask(INVALID_SOCKET, buffer, sizeof buffer, &count, NULL, NULL, NULL, NOWHERE), SOCKET_ERROR);
    EQUAL(ask(INVALID_SOCKET, buffer, sizeof buffer, &count, NULL, NULL, NULL, read_only()), SOCKET_ERROR);
    close_both(connection);
    scene_end();
}

static void *call_for_another(void *argument)
{
    struct pending *query = argument;
    WSATHREADID thread = *(WSATHREADID *)query->buffer;
    INT error = 77;
    EQUAL(ask(query->connecting.socket, query->buffer, sizeof query->buffer, &query->count, &query->operation, remember,
              &thread, &error),
          SOCKET_ERROR);
    EQUAL(error, WSA_IO_PENDING);
    /* Stays, so that its end does not cancel the call. */
    while (last.runs == 0) {
        usleep(1000);
    }
    return NULL;
}

/* The routine runs in the thread of the id, whoever made the call. */
static void the_routine_runs_in_the_thread_of_the_id(void)
{
    struct pending query;
    scene_begin();
    WSATHREADID thread = this_thread();
    last.runs = 0;
    query.connecting = unanswered(tcp());
    memset(&query.operation, 0, sizeof query.operation);
    check_fill(query.buffer, sizeof query.buffer);
    memcpy(query.buffer, &thread, sizeof thread);
    pthread_t caller = start_thread(call_for_another, &query);
    while (query.operation.Internal == 0) {
        usleep(1000);
    }
    settle(&query);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    EQUAL(last.runs, 1);
    CHECK(pthread_equal(last.thread, pthread_self()));
    join(caller);
    close_thread(&thread);
    check_fill(query.buffer, sizeof thread);
    forget(&query);
    scene_end();
}

TESTS(TEST(acme, statement_91_the_error_and_the_thread_id), TEST(acme, all_three_codes),
      TEST(none, a_routine_is_queued_to_a_thread), TEST(none, it_ends_the_wait_of_a_sleeping_thread),
      TEST(none, a_thread_that_is_not_there), TEST(acme, no_place_for_the_error),
      TEST(acme, the_routine_runs_in_the_thread_of_the_id))
