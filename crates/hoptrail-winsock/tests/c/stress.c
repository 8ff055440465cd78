/* Many calls of many threads: no completion is lost, and nothing leaks. CALLS says how many. */
#include "completion.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 8 };

/* What the process has: descriptors, threads, and memory in kilobytes. */
struct usage {
    int descriptors, threads;
    long kilobytes;
};

static int entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    while (readdir(dir)) {
        count++;
    }
    closedir(dir);
    return count;
}

static struct usage usage(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &pages, &resident) == 2);
    fclose(file);
    return (struct usage){entries("/proc/self/fd"), entries("/proc/self/task"),
                          resident * (sysconf(_SC_PAGESIZE) / 1024)};
}

/* A thread of the library's own may have come for the first time; a megabyte a million calls is a byte a call. */
static void expect_no_more(struct usage before)
{
    struct usage after = usage();
    EQUAL(after.descriptors, before.descriptors);
    CHECK(after.threads <= before.threads);
    /* What looks at memory keeps what was freed. */
    if (setting("COUNT_MEMORY")) {
        CHECK(after.kilobytes <= before.kilobytes + 1024);
    }
}

struct work {
    struct redirected connection;
    long calls, completed;
    HANDLE port;
    int number;
};

static void on_each_thread(void *(*run)(void *), struct work *all)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        threads[i] = start_thread(run, &all[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        join(threads[i]);
    }
}

static long calls_of_one(void)
{
    return setting("CALLS") / THREADS;
}

static void prepare(struct work *all, long calls)
{
    SOCKET listener = acme_listens();
    for (int i = 0; i < THREADS; i++) {
        all[i] = (struct work){.connection = redirect(listener, 80), .calls = calls, .number = i};
    }
    EQUAL(closesocket(listener), 0);
}

static void finish(struct work *all)
{
    for (int i = 0; i < THREADS; i++) {
        close_both(all[i].connection);
    }
}

/* The three codes by turns, failures among them. */
static void *synchronous(void *argument)
{
    struct work *work = argument;
    struct blob records = records_of(work->connection.accepted);
    SOCKET upstream = tcp();
    for (long i = 0; i < work->calls; i++) {
        unsigned char buffer[1024];
        DWORD count = 0;
        switch (i % 4) {
        case 0:
            EQUAL(overlapped_query(work->connection.accepted, buffer, sizeof buffer, &count, NULL, NULL), 0);
            EQUAL(count, records.size);
            SAME(buffer, records.bytes, count);
            break;
        case 1:
            EQUAL(WSAIoctl(work->connection.accepted, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, NULL, 0, buffer,
                           sizeof buffer, &count, NULL, NULL),
                  0);
            break;
        case 2:
            FAILS(overlapped_query(work->connection.accepted, NULL, 0, &count, NULL, NULL), ERROR_INSUFFICIENT_BUFFER);
            break;
        default:
            EQUAL(set_records(upstream, &records), 0);
        }
        work->completed++;
    }
    EQUAL(closesocket(upstream), 0);
    return NULL;
}

/* By event, by routine, and by both methods of asking afterwards. */
static void *overlapped(void *argument)
{
    struct work *work = argument;
    WSAEVENT event = WSACreateEvent();
    for (long i = 0; i < work->calls; i++) {
        unsigned char buffer[1024];
        DWORD count = 0, length = 0;
        WSAOVERLAPPED operation = {.hEvent = event};
        int result = overlapped_query(work->connection.accepted, buffer, sizeof buffer, &count, &operation, NULL);
        CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
        if (i % 2) {
            EQUAL(WSAWaitForMultipleEvents(1, &event, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
        }
        EQUAL(result_of(work->connection.accepted, &operation, &length), 0);
        EQUAL(length, RECORDS_HEADER + RECORDS_HOP);
        work->completed++;
    }
    CHECK(WSACloseEvent(event));
    return NULL;
}

static _Thread_local long routines;

static void CALLBACK count_routine(DWORD error, DWORD transferred, LPWSAOVERLAPPED operation, DWORD flags)
{
    EQUAL(error, 0);
    EQUAL(transferred, RECORDS_HEADER + RECORDS_HOP);
    EQUAL(flags, 0);
    operation->hEvent = (WSAEVENT)((uintptr_t)operation->hEvent + 1);
    routines++;
}

static void *by_routine(void *argument)
{
    enum { BATCH = 16 };
    struct work *work = argument;
    for (long done = 0; done < work->calls; done += BATCH) {
        WSAOVERLAPPED operations[BATCH];
        unsigned char buffers[BATCH][512];
        memset(operations, 0, sizeof operations);
        for (int i = 0; i < BATCH; i++) {
            DWORD count;
            int result = overlapped_query(work->connection.accepted, buffers[i], sizeof buffers[i], &count,
                                          &operations[i], count_routine);
            CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
        }
        long wanted = done + BATCH;
        while (routines < wanted) {
            EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
        }
        for (int i = 0; i < BATCH; i++) {
            EQUAL((uintptr_t)operations[i].hEvent, 1);
        }
    }
    work->completed = routines;
    return NULL;
}

static WSAOVERLAPPED operations[THREADS][64];
static _Atomic long taken[THREADS];

/* Half of the threads ask, the other half take from the port, whoever comes first. An OVERLAPPED is used again only
 * when so many were taken that it must have been among them. */
static void *by_port(void *argument)
{
    static unsigned char buffers[THREADS][512];
    struct work *work = argument;
    if (work->number % 2) {
        for (; work->completed < 2 * work->calls; work->completed++) {
            DWORD bytes;
            ULONG_PTR key;
            LPOVERLAPPED got;
            CHECK(GetQueuedCompletionStatus(work->port, &bytes, &key, &got, WSA_INFINITE));
            EQUAL(bytes, RECORDS_HEADER + RECORDS_HOP);
            CHECK(key < THREADS && got >= operations[key] && got < operations[key] + 64);
            taken[key]++;
        }
        return NULL;
    }
    for (long i = 0; i < 2 * work->calls; i++) {
        DWORD count;
        while (i - taken[work->number] >= 32) {
            sched_yield();
        }
        int result = overlapped_query(work->connection.accepted, buffers[work->number], sizeof buffers[0], &count,
                                      &operations[work->number][i % 64], NULL);
        CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
    }
    return NULL;
}

/* A first round of a few lets everything be made that stays. */
static void run_and_count(void *(*run)(void *), HANDLE port)
{
    struct work all[THREADS];
    prepare(all, 64);
    for (int i = 0; i < THREADS; i++) {
        all[i].port = port;
        if (port) {
            CHECK(CreateIoCompletionPort((HANDLE)all[i].connection.accepted, port, (ULONG_PTR)i, 0) == port);
        }
    }
    on_each_thread(run, all);
    struct usage before = usage();
    long completed = 0, calls = calls_of_one();
    for (int i = 0; i < THREADS; i++) {
        all[i].calls = calls;
        all[i].completed = 0;
        taken[i] = 0;
    }
    on_each_thread(run, all);
    for (int i = 0; i < THREADS; i++) {
        completed += all[i].completed;
    }
    CHECK(completed >= calls * THREADS && completed < calls * THREADS + 16 * THREADS);
    expect_no_more(before);
    finish(all);
}

static void a_million_calls_of_eight_threads(void)
{
    scene_begin();
    run_and_count(synchronous, NULL);
    scene_end();
}

static void a_million_overlapped_calls_by_event(void)
{
    scene_begin();
    run_and_count(overlapped, NULL);
    scene_end();
}

static void a_million_overlapped_calls_by_routine(void)
{
    scene_begin();
    run_and_count(by_routine, NULL);
    scene_end();
}

static void a_million_overlapped_calls_by_port(void)
{
    scene_begin();
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    run_and_count(by_port, port);
    CHECK(CloseHandle(port));
    scene_end();
}

/* Pending calls that are cancelled in every way, over and over; each is told exactly once. */
static void *cancelled(void *argument)
{
    struct work *work = argument;
    for (long i = 0; i < work->calls; i++) {
        struct pending query;
        DWORD length = 77;
        query.operation = (WSAOVERLAPPED){.hEvent = WSACreateEvent()};
        SOCKET socket = tcp();
        struct sockaddr_in to = address("127.0.0.1", work->number);
        EQUAL(fcntl((int)socket, F_SETFL, O_RDWR | O_NONBLOCK), 0);
        CHECK(connect(socket, (struct sockaddr *)&to, sizeof to) == -1);
        FAILS(overlapped_query(socket, query.buffer, sizeof query.buffer, &query.count, &query.operation, NULL),
              WSA_IO_PENDING);
        if (i % 2) {
            CHECK(CancelIoEx((HANDLE)socket, &query.operation));
        }
        EQUAL(closesocket(socket), 0);
        EQUAL(result_of(socket, &query.operation, &length), WSA_OPERATION_ABORTED);
        CHECK(WSACloseEvent(query.operation.hEvent));
        work->completed++;
    }
    return NULL;
}

/* All wait for one listener that never answers. */
static void cancelled_over_and_over(void)
{
    struct work all[THREADS];
    scene_begin();
    struct unanswered wall = unanswered(tcp());
    struct sockaddr_in at;
    int size = sizeof at;
    EQUAL(getsockname(wall.listener, (struct sockaddr *)&at, &size), 0);
    for (int round = 0; round < 2; round++) {
        struct usage before = usage();
        for (int i = 0; i < THREADS; i++) {
            all[i] = (struct work){.calls = round ? calls_of_one() / 100 : 8, .number = ntohs(at.sin_port)};
        }
        on_each_thread(cancelled, all);
        if (round) {
            expect_no_more(before);
        }
    }
    close(wall.listener);
    close(wall.filler);
    EQUAL(closesocket(wall.socket), 0);
    scene_end();
}

static void *begin_now(void *query)
{
    struct sockaddr_in to = address("192.0.2.10", 53);
    EQUAL(sendto(((struct pending *)query)->client, "first", 5, 0, (struct sockaddr *)&to, sizeof to), 5);
    return NULL;
}

static void *cancel_now(void *query)
{
    struct pending *pending = query;
    if (!CancelIoEx((HANDLE)pending->connecting.socket, &pending->operation)) {
        EQUAL(WSAGetLastError(), ERROR_NOT_FOUND);
    }
    return NULL;
}

/* The answer and the cancel race, while a third thread waits: it is told one or the other. */
static void answered_and_cancelled_at_once(void)
{
    long rounds = setting("CALLS") / 500, answered = 0;
    scene_begin();
    for (long i = 0; i < rounds; i++) {
        struct pending query;
        DWORD length = 77;
        pend_flow(&query, NULL);
        be("app"); /* who sends counts, and not only whose socket it is */
        pthread_t threads[] = {start_thread(begin_now, &query), start_thread(cancel_now, &query)};
        int error = result_of(query.connecting.socket, &query.operation, &length);
        if (error == 0) {
            EQUAL(length, RECORDS_HEADER + RECORDS_HOP);
            answered++;
        } else {
            EQUAL(error, WSA_OPERATION_ABORTED);
            UNTOUCHED(query.buffer, sizeof query.buffer);
        }
        EQUAL(WSAWaitForMultipleEvents(1, &query.operation.hEvent, TRUE, WSA_INFINITE, FALSE), WSA_WAIT_EVENT_0);
        join(threads[0]);
        join(threads[1]);
        close_flow(&query);
        CHECK(WSACloseEvent(query.operation.hEvent));
    }
    fprintf(stderr, "%ld of %ld answered\n", answered, rounds);
    scene_end();
}

TESTS(TEST(acme, a_million_calls_of_eight_threads), TEST(acme, a_million_overlapped_calls_by_event),
      TEST(acme, a_million_overlapped_calls_by_routine), TEST(acme, a_million_overlapped_calls_by_port),
      TEST(acme, cancelled_over_and_over), TEST(acme, answered_and_cancelled_at_once))
