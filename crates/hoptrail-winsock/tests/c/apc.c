/* Completion routines: in which waits they run, how many, in what order, and what they may do. */
#include "completion.h"

#include <string.h>
#include <unistd.h>

enum { MANY = 20 };

static int order[MANY], ran;
static WSAOVERLAPPED operations[MANY];

static void CALLBACK note_order(DWORD error, DWORD transferred, LPWSAOVERLAPPED operation, DWORD flags)
{
    EQUAL(error, 0);
    EQUAL(flags, 0);
    CHECK(transferred > 0);
    order[ran++] = (int)(operation - operations);
}

static void ask_many(SOCKET socket, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    static unsigned char buffers[MANY][1024];
    ran = 0;
    memset(operations, 0, sizeof operations);
    for (int i = 0; i < MANY; i++) {
        DWORD count;
        int result = overlapped_query(socket, buffers[i], sizeof buffers[i], &count, &operations[i], routine);
        CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
    }
}

/* One wait runs all that are queued, in their order. */
static void one_wait_runs_all(void)
{
    scene_begin();
    struct redirected connection = redirected();
    ask_many(connection.accepted, note_order);
    EQUAL(ran, 0);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    EQUAL(ran, MANY);
    for (int i = 0; i < MANY; i++) {
        EQUAL(order[i], i);
    }
    EQUAL(SleepEx(0, TRUE), 0);
    EQUAL(ran, MANY);
    close_both(connection);
    scene_end();
}

static void every_alertable_wait_runs_them(void)
{
    scene_begin();
    struct redirected connection = redirected();
    WSAEVENT never = WSACreateEvent(), both[] = {never, WSACreateEvent()};
    for (int way = 0; way < 4; way++) {
        ask_many(connection.accepted, note_order);
        switch (way) {
        case 0:
            EQUAL(WSAWaitForMultipleEvents(1, &never, FALSE, WSA_INFINITE, TRUE), WSA_WAIT_IO_COMPLETION);
            break;
        case 1:
            EQUAL(WSAWaitForMultipleEvents(2, both, TRUE, WSA_INFINITE, TRUE), WSA_WAIT_IO_COMPLETION);
            break;
        case 2:
            EQUAL(WaitForSingleObjectEx(never, INFINITE, TRUE), WAIT_IO_COMPLETION);
            break;
        default:
            EQUAL(WaitForMultipleObjectsEx(2, both, FALSE, INFINITE, TRUE), WAIT_IO_COMPLETION);
        }
        EQUAL(ran, MANY);
    }
    CHECK(WSACloseEvent(never));
    CHECK(WSACloseEvent(both[1]));
    close_both(connection);
    scene_end();
}

/* An event that is signalled already ends the wait first; the routines wait for the next one. */
static void a_signalled_event_comes_first(void)
{
    scene_begin();
    struct redirected connection = redirected();
    WSAEVENT event = WSACreateEvent();
    CHECK(WSASetEvent(event));
    ask_many(connection.accepted, note_order);
    EQUAL(WSAWaitForMultipleEvents(1, &event, FALSE, WSA_INFINITE, TRUE), WSA_WAIT_EVENT_0);
    EQUAL(ran, 0);
    EQUAL(SleepEx(0, TRUE), WAIT_IO_COMPLETION);
    EQUAL(ran, MANY);
    CHECK(WSACloseEvent(event));
    close_both(connection);
    scene_end();
}

static int depth, deepest;

static void CALLBACK wait_inside(DWORD error, DWORD transferred, LPWSAOVERLAPPED operation, DWORD flags)
{
    (void)transferred;
    EQUAL(error, 0);
    EQUAL(flags, 0);
    order[ran++] = (int)(operation - operations);
    deepest = ++depth > deepest ? depth : deepest;
    if (depth < 5) {
        SleepEx(0, TRUE);
    }
    depth--;
}

/* A routine may wait alertably itself: what is queued runs in it. */
static void a_routine_waits_alertably(void)
{
    scene_begin();
    struct redirected connection = redirected();
    depth = deepest = 0;
    ask_many(connection.accepted, wait_inside);
    EQUAL(SleepEx(0, TRUE), WAIT_IO_COMPLETION);
    EQUAL(ran, MANY);
    EQUAL(deepest, 5);
    close_both(connection);
    scene_end();
}

static SOCKET again_on;
static int again;

static void CALLBACK ask_again(DWORD error, DWORD transferred, LPWSAOVERLAPPED operation, DWORD flags)
{
    static unsigned char buffer[1024];
    DWORD count;
    remember(error, transferred, operation, flags);
    if (again-- > 0) {
        int result = overlapped_query(again_on, buffer, sizeof buffer, &count, operation, ask_again);
        CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
    }
}

/* The usual chain: each routine makes the next overlapped call, with the same OVERLAPPED. */
static void a_routine_makes_the_next_call(void)
{
    scene_begin();
    struct redirected connection = redirected();
    WSAOVERLAPPED operation = {0};
    last.runs = 0;
    again = 99;
    again_on = connection.accepted;
    ask_again(0, 0, &operation, 0);
    while (last.runs < 100) {
        EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    }
    EQUAL(last.runs, 100);
    EQUAL(last.error, 0);
    EQUAL(SleepEx(0, TRUE), 0);
    close_both(connection);
    scene_end();
}

static void *wait_alertably(void *unused)
{
    (void)unused;
    EQUAL(SleepEx(100, TRUE), 0);
    return NULL;
}

static void no_other_thread_runs_them(void)
{
    scene_begin();
    struct redirected connection = redirected();
    ask_many(connection.accepted, note_order);
    join(start_thread(wait_alertably, NULL));
    EQUAL(ran, 0);
    EQUAL(SleepEx(0, TRUE), WAIT_IO_COMPLETION);
    EQUAL(ran, MANY);
    close_both(connection);
    scene_end();
}

/* Blocking calls of the socket do not run them. */
static void a_blocking_call_is_no_alertable_wait(void)
{
    scene_begin();
    struct redirected connection = redirected();
    ask_many(connection.accepted, note_order);
    (void)records_of(connection.accepted);
    say(connection.client, "x");
    hear((int)connection.accepted, "x");
    EQUAL(ran, 0);
    EQUAL(SleepEx(0, TRUE), WAIT_IO_COMPLETION);
    EQUAL(ran, MANY);
    close_both(connection);
    scene_end();
}

/* What fails at once runs no routine, and signals no event. */
static void a_failure_at_once_is_told_by_the_call_alone(void)
{
    int client;
    scene_begin();
    SOCKET accepted = direct(&client);
    HANDLE port = CreateIoCompletionPort((HANDLE)accepted, NULL, 1, 0);
    CHECK(port != NULL);
    WSAOVERLAPPED operation = {.hEvent = WSACreateEvent()};
    unsigned char buffer[1024];
    DWORD count;
    FAILS(overlapped_query(accepted, buffer, sizeof buffer, &count, &operation, NULL), WSAEINVAL);
    CHECK(!is_signalled(operation.hEvent));
    ULONG_PTR key;
    LPOVERLAPPED got;
    REFUSED(GetQueuedCompletionStatus(port, &count, &key, &got, 0), WAIT_TIMEOUT);
    CHECK(CloseHandle(port));
    CHECK(WSACloseEvent(operation.hEvent));
    close_both((struct redirected){client, accepted});
    SOCKET other = direct(&client);
    last.runs = 0;
    FAILS(overlapped_query(other, buffer, sizeof buffer, &count, &operation, remember), WSAEINVAL);
    EQUAL(SleepEx(0, TRUE), 0);
    EQUAL(last.runs, 0);
    close_both((struct redirected){client, other});
    scene_end();
}

TESTS(TEST(acme, one_wait_runs_all), TEST(acme, every_alertable_wait_runs_them),
      TEST(acme, a_signalled_event_comes_first), TEST(acme, a_routine_waits_alertably),
      TEST(acme, a_routine_makes_the_next_call), TEST(acme, no_other_thread_runs_them),
      TEST(acme, a_blocking_call_is_no_alertable_wait), TEST(acme, a_failure_at_once_is_told_by_the_call_alone))
