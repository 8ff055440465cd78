/* The errors of the documents' tables, each provoked. */
#include "completion.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const DWORD SET = SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS;

static int ask(SOCKET socket, void *buffer, DWORD room, DWORD *count)
{
    return overlapped_query(socket, buffer, room, count, NULL, NULL);
}

static void io_pending(void)
{
    struct pending query;
    DWORD length;
    scene_begin();
    pend(&query, NULL);
    EQUAL(WSAGetLastError(), WSA_IO_PENDING);
    settle(&query);
    EQUAL(result_of(query.connecting.socket, &query.operation, &length), WSAEINVAL);
    forget(&query);
    scene_end();
}

static void operation_aborted(void)
{
    struct pending query;
    DWORD length;
    scene_begin();
    pend(&query, NULL);
    CHECK(CancelIoEx((HANDLE)query.connecting.socket, &query.operation));
    EQUAL(result_of(query.connecting.socket, &query.operation, &length), WSA_OPERATION_ABORTED);
    forget(&query);
    scene_end();
}

static void access_denied(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    be("other");
    EQUAL(set_records(upstream, &records), SOCKET_ERROR);
    EQUAL(WSAGetLastError(), WSAEACCES);
    be("acme");
    /* It is SET's alone. */
    be("other");
    (void)records_of(connection.accepted);
    be("acme");
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

static void fault_of_each_pointer(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    void *places[] = {NOWHERE, no_access(), (void *)(uintptr_t)0xdead000000000000};
    unsigned char buffer[1024];
    DWORD count = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        WSAOVERLAPPED operation = {0};
        FAILS(WSAIoctl(upstream, SET, places[i], 240, NULL, 0, &count, NULL, NULL), WSAEFAULT);
        FAILS(WSAIoctl(upstream, SET, records.bytes, records.size, NULL, 0, places[i], NULL, NULL), WSAEFAULT);
        FAILS(WSAIoctl(upstream, SET, records.bytes, records.size, NULL, 0, &count, places[i], NULL), WSAEFAULT);
        FAILS(ask(connection.accepted, places[i], sizeof buffer, &count), WSAEFAULT);
        FAILS(ask(connection.accepted, buffer, sizeof buffer, places[i]), WSAEFAULT);
        FAILS(overlapped_query(connection.accepted, buffer, sizeof buffer, &count, places[i], NULL), WSAEFAULT);
        FAILS(overlapped_query(connection.accepted, buffer, sizeof buffer, &count, &operation,
                               (LPWSAOVERLAPPED_COMPLETION_ROUTINE)(uintptr_t)places[i]),
              WSAEFAULT);
        EQUAL(SleepEx(0, TRUE), 0);
    }
    FAILS(overlapped_query(connection.accepted, buffer, sizeof buffer, &count, read_only(), NULL), WSAEFAULT);
    FAILS(overlapped_query(connection.accepted, buffer, sizeof buffer, &count, last_bytes(8), NULL), WSAEFAULT);
    /* A SET that faults has set nothing. */
    FAILS(ask(upstream, buffer, sizeof buffer, &count), WSAENOTCONN);
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

static struct {
    SOCKET socket;
    int result, error, cleanup;
} inside;

static void CALLBACK ask_inside(DWORD error, DWORD transferred, LPWSAOVERLAPPED operation, DWORD flags)
{
    unsigned char buffer[1024];
    DWORD count = 0;
    inside.result = ask(inside.socket, buffer, sizeof buffer, &count);
    inside.error = WSAGetLastError();
    remember(error, transferred, operation, flags);
}

static void in_progress(void)
{
    scene_begin();
    struct redirected connection = redirected();
    WSAOVERLAPPED operation = {0};
    unsigned char buffer[1024];
    DWORD count = 0;
    last.runs = 0;
    inside.socket = connection.accepted;
    int result = overlapped_query(connection.accepted, buffer, sizeof buffer, &count, &operation, ask_inside);
    CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
    EQUAL(SleepEx(WSA_INFINITE, TRUE), WAIT_IO_COMPLETION);
    EQUAL(last.runs, 1);
    EQUAL(inside.result, SOCKET_ERROR);
    EQUAL(inside.error, WSAEINPROGRESS);
    (void)records_of(connection.accepted);
    close_both(connection);
    scene_end();
}

static void nothing(int signal)
{
    (void)signal;
}

static void *block(void *socket)
{
    unsigned char buffer[1024];
    DWORD count;
    FAILS(ask((SOCKET)(intptr_t)socket, buffer, sizeof buffer, &count), WSAEINTR);
    return NULL;
}

/* The signal comes again until the call has begun to block. */
static void interrupted(void)
{
    scene_begin();
    struct sigaction action = {.sa_handler = nothing};
    EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
    struct unanswered connecting = unanswered(tcp());
    pthread_t thread = start_thread(block, (void *)(intptr_t)connecting.socket);
    struct timespec soon;
    do {
        EQUAL(pthread_kill(thread, SIGUSR1), 0);
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 10000000;
        soon.tv_sec += soon.tv_nsec / 1000000000;
        soon.tv_nsec %= 1000000000;
    } while (pthread_timedjoin_np(thread, NULL, &soon) != 0);
    close(connecting.listener);
    close(connecting.filler);
    EQUAL(closesocket(connecting.socket), 0);
    scene_end();
}

static void stop_blocking(int signal)
{
    (void)signal;
    (void)WSACancelBlockingCall();
}

/* The call goes on after a handler with SA_RESTART only if the handler does not say otherwise. */
static void interrupted_by_cancel_blocking_call(void)
{
    scene_begin();
    struct sigaction action = {.sa_handler = stop_blocking, .sa_flags = SA_RESTART};
    EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
    FAILS(WSACancelBlockingCall(), WSAEINVAL);
    struct unanswered connecting = unanswered(tcp());
    pthread_t thread = start_thread(block, (void *)(intptr_t)connecting.socket);
    struct timespec soon;
    do {
        EQUAL(pthread_kill(thread, SIGUSR1), 0);
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec += 10000000;
        soon.tv_sec += soon.tv_nsec / 1000000000;
        soon.tv_nsec %= 1000000000;
    } while (pthread_timedjoin_np(thread, NULL, &soon) != 0);
    close(connecting.listener);
    close(connecting.filler);
    EQUAL(closesocket(connecting.socket), 0);
    scene_end();
}

/* Another thread closes the socket under a blocking call. */
static void interrupted_by_closesocket(void)
{
    scene_begin();
    struct unanswered connecting = unanswered(tcp());
    pthread_t thread = start_thread(block, (void *)(intptr_t)connecting.socket);
    usleep(50000); /* before it blocks, it would be WSAENOTSOCK */
    EQUAL(closesocket(connecting.socket), 0);
    join(thread);
    close(connecting.listener);
    close(connecting.filler);
    scene_end();
}

static void would_block(void)
{
    scene_begin();
    struct unanswered connecting = unanswered(tcp());
    unsigned char buffer[1024];
    DWORD count = 0;
    EQUAL(fcntl((int)connecting.socket, F_SETFL, O_NONBLOCK | O_RDWR), 0);
    FAILS(ask(connecting.socket, buffer, sizeof buffer, &count), WSAEWOULDBLOCK);
    close(connecting.listener);
    close(connecting.filler);
    EQUAL(closesocket(connecting.socket), 0);
    scene_end();
}

static void invalid(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp(), datagrams = WSASocketW(AF_INET, SOCK_DGRAM, IPPROTO_UDP, NULL, 0, 0);
    DWORD count;
    FAILS(WSAIoctl(upstream, SET, records.bytes, records.size - 1, NULL, 0, &count, NULL, NULL), WSAEINVAL);
    EQUAL(WSAIoctl(upstream, 0x12345678, NULL, 0, NULL, 0, &count, NULL, NULL), SOCKET_ERROR);
    CHECK(WSAGetLastError() == WSAEINVAL || WSAGetLastError() == WSAEOPNOTSUPP);
    EQUAL(WSAIoctl(datagrams, SET, records.bytes, records.size, NULL, 0, &count, NULL, NULL), SOCKET_ERROR);
    CHECK(WSAGetLastError() == WSAEINVAL || WSAGetLastError() == WSAEOPNOTSUPP);
    EQUAL(closesocket(upstream), 0);
    EQUAL(closesocket(datagrams), 0);
    close_both(connection);
    scene_end();
}

static void network_down(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    harness("detach");
    unsigned char buffer[1024];
    DWORD count = 77;
    FAILS(ask(connection.accepted, buffer, sizeof buffer, &count), WSAENETDOWN);
    FAILS(ask(connection.accepted, NULL, 0, &count), WSAENETDOWN);
    FAILS(set_records(upstream, &records), WSAENETDOWN);
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

/* A pending query is not left alone for ever when the engine goes. */
static void network_down_while_pending(void)
{
    struct pending query;
    DWORD length = 77;
    scene_begin();
    pend(&query, NULL);
    harness("detach");
    settle(&query);
    EQUAL(result_of(query.connecting.socket, &query.operation, &length), WSAENETDOWN);
    forget(&query);
    scene_end();
}

static void without_an_engine(void)
{
    scene_begin();
    SOCKET sockets[] = {tcp(), WSASocketW(AF_INET6, SOCK_STREAM, IPPROTO_TCP, NULL, 0, WSA_FLAG_OVERLAPPED)};
    unsigned char buffer[1024] = {0};
    DWORD count = 77;
    for (int i = 0; i < 2; i++) {
        FAILS(ask(sockets[i], buffer, sizeof buffer, &count), WSAENETDOWN);
        FAILS(WSAIoctl(sockets[i], SET, buffer, 240, NULL, 0, &count, NULL, NULL), WSAENETDOWN);
        EQUAL(closesocket(sockets[i]), 0);
    }
    scene_end();
}

static void not_a_socket(void)
{
    scene_begin();
    DWORD count;
    unsigned char buffer[1024];
    int file = open("/dev/null", O_RDWR);
    FAILS(ask((SOCKET)file, buffer, sizeof buffer, &count), WSAENOTSOCK);
    FAILS(closesocket((SOCKET)file), WSAENOTSOCK);
    EQUAL(fcntl(file, F_GETFD), 0);
    close(file);
    FAILS(closesocket(INVALID_SOCKET), WSAENOTSOCK);
    scene_end();
}

static void not_supported(void)
{
    int pair[2];
    DWORD count;
    unsigned char buffer[240] = {0};
    scene_begin();
    EQUAL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    FAILS(ask((SOCKET)pair[0], buffer, sizeof buffer, &count), WSAEOPNOTSUPP);
    FAILS(WSAIoctl((SOCKET)pair[0], SET, buffer, sizeof buffer, NULL, 0, &count, NULL, NULL), WSAEOPNOTSUPP);
    close(pair[0]);
    close(pair[1]);
    scene_end();
}

static void insufficient_buffer(void)
{
    scene_begin();
    struct redirected connection = redirected();
    unsigned char buffer[1024];
    DWORD count = 0;
    FAILS(ask(connection.accepted, buffer, 16, &count), ERROR_INSUFFICIENT_BUFFER);
    EQUAL(count, RECORDS_HEADER + RECORDS_HOP);
    close_both(connection);
    scene_end();
}

static void not_connected(void)
{
    scene_begin();
    SOCKET socket = tcp();
    unsigned char buffer[1024];
    DWORD count;
    FAILS(ask(socket, buffer, sizeof buffer, &count), WSAENOTCONN);
    FAILS(WSAIoctl(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, NULL, 0, buffer, sizeof buffer, &count, NULL,
                   NULL),
          WSAENOTCONN);
    EQUAL(closesocket(socket), 0);
    scene_end();
}

/* Another protocol over IP: it is a socket of the internet, and knows nothing of records. */
static void no_such_option(void)
{
    scene_begin();
    SOCKET raw = (SOCKET)socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    CHECK(raw != INVALID_SOCKET);
    unsigned char buffer[1024];
    DWORD count;
    FAILS(ask(raw, buffer, sizeof buffer, &count), WSAENOPROTOOPT);
    EQUAL(closesocket(raw), 0);
    scene_end();
}

TESTS(TEST(acme, io_pending), TEST(acme, operation_aborted), TEST(acme, access_denied),
      TEST(acme, fault_of_each_pointer), TEST(acme, in_progress), TEST(acme, interrupted),
      TEST(acme, interrupted_by_cancel_blocking_call), TEST(acme, interrupted_by_closesocket), TEST(acme, would_block),
      TEST(acme, invalid), TEST(acme, network_down), TEST(acme, network_down_while_pending),
      TEST(none, without_an_engine), TEST(none, not_a_socket), TEST(none, not_supported),
      TEST(acme, insufficient_buffer), TEST(acme, not_connected), TEST(acme, no_such_option))
