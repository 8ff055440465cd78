#include "completion.h"

#include <string.h>
#include <unistd.h>

struct routine last;

void CALLBACK remember(DWORD error, DWORD transferred, LPWSAOVERLAPPED operation, DWORD flags)
{
    last = (struct routine){last.runs + 1, error, transferred, flags, operation, pthread_self()};
}

int overlapped_query(SOCKET socket, void *buffer, DWORD room, DWORD *count, WSAOVERLAPPED *operation,
                     LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    return WSAIoctl(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, NULL, 0, buffer, room, count, operation,
                    routine);
}

static void begin(struct pending *query, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    memset(&query->operation, 0, sizeof query->operation);
    if (!routine) {
        query->operation.hEvent = WSACreateEvent();
        CHECK(query->operation.hEvent != WSA_INVALID_EVENT);
    }
    check_fill(query->buffer, sizeof query->buffer);
    query->count = 0;
    FAILS(overlapped_query(query->connecting.socket, query->buffer, sizeof query->buffer, &query->count,
                           &query->operation, routine),
          WSA_IO_PENDING);
}

void pend_on(struct pending *query, SOCKET socket, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    query->connecting = unanswered(socket);
    begin(query, routine);
}

void pend(struct pending *query, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    pend_on(query, tcp(), routine);
}

void settle(struct pending *query)
{
    answer(&query->connecting);
}

void forget(struct pending *query)
{
    UNTOUCHED(query->buffer, sizeof query->buffer);
    close(query->connecting.listener);
    close(query->connecting.filler);
    closesocket(query->connecting.socket);
    if (query->operation.hEvent) {
        CHECK(WSACloseEvent(query->operation.hEvent));
    }
}

static SOCKET acme_datagrams(void)
{
    int yes = 1;
    struct sockaddr_in at = listener_of("acme");
    SOCKET made = WSASocketW(AF_INET, SOCK_DGRAM, IPPROTO_UDP, NULL, 0, WSA_FLAG_OVERLAPPED);
    CHECK(made != INVALID_SOCKET);
    EQUAL(setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), 0);
    EQUAL(bind(made, (struct sockaddr *)&at, sizeof at), 0);
    return made;
}

/* The kernel side remembers the flow of a port after its socket is closed: so each gets one of its own. */
SOCKET flow_sockets(struct pending *query)
{
    static int port = 20000;
    struct sockaddr_in from = address("192.0.2.20", port++);
    be("app");
    query->client = (int)socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    EQUAL(bind(query->client, (struct sockaddr *)&from, sizeof from), 0);
    be("acme");
    query->connecting = (struct unanswered){.listener = (int)acme_datagrams(), .filler = -1};
    SOCKET proxy = acme_datagrams();
    EQUAL(connect(proxy, (struct sockaddr *)&from, sizeof from), 0);
    query->connecting.socket = proxy;
    return proxy;
}

void pend_flow(struct pending *query, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    flow_sockets(query);
    begin(query, routine);
}

void begin_flow(struct pending *query)
{
    struct sockaddr_in to = address("192.0.2.10", 53);
    be("app");
    EQUAL(sendto(query->client, "first", 5, 0, (struct sockaddr *)&to, sizeof to), 5);
    be("acme");
}

void close_flow(struct pending *query)
{
    close(query->client);
    close(query->connecting.listener);
    EQUAL(closesocket(query->connecting.socket), 0);
}

void forget_flow(struct pending *query)
{
    struct blob records = records_of(query->connecting.socket);
    EQUAL(records.size, RECORDS_HEADER + RECORDS_HOP);
    SAME(query->buffer, records.bytes, records.size);
    UNTOUCHED(query->buffer + records.size, sizeof query->buffer - records.size);
    close_flow(query);
    if (query->operation.hEvent) {
        CHECK(WSACloseEvent(query->operation.hEvent));
    }
}

int result_of(SOCKET socket, WSAOVERLAPPED *operation, DWORD *length)
{
    DWORD flags = 77;
    if (WSAGetOverlappedResult(socket, operation, length, TRUE, &flags)) {
        EQUAL(flags, 0);
        return 0;
    }
    return WSAGetLastError();
}

int is_signalled(WSAEVENT event)
{
    DWORD found = WSAWaitForMultipleEvents(1, &event, FALSE, 0, FALSE);
    CHECK(found == WSA_WAIT_EVENT_0 || found == WSA_WAIT_TIMEOUT);
    return found == WSA_WAIT_EVENT_0;
}

pthread_t start_thread(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    EQUAL(pthread_create(&thread, NULL, run, argument), 0);
    return thread;
}

void join(pthread_t thread)
{
    EQUAL(pthread_join(thread, NULL), 0);
}
