/* A redirect service as one writes it for Windows: winsock_proxy PORT [--name NAME] [--overlapped]
 *
 * It accepts redirected connections at 127.0.0.1 and [::1], asks for their records and context, sets the records on a
 * new socket, dials the context's destination with it, and relays. With --overlapped the three calls are overlapped
 * ones. docs/winsock.md says what the calls do here. Build it from the top of the source tree:
 *
 *     cargo build --release -p hoptrail-winsock
 *     cc -O2 -pthread -o target/winsock_proxy examples/winsock_proxy.c -I crates/hoptrail-winsock/include \
 *         -L target/release -lhoptrail_winsock -Wl,-rpath,"$PWD/target/release"
 *
 * and try it, as root: hoptrail run --config examples/winsock.toml -- curl -sS http://192.0.2.10/ */
#include <hoptrail_winsock.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of the context, which provider and proxy agree about; here it is Hoptrail's, see docs/abi.md. */
enum { HOP_AT = 5, PID_AT = 16, UID_AT = 20, DESTINATION_AT = 56, PORT_AT = 88, PATH_BYTES_AT = 92, PATH_AT = 112 };

static const char *service = "winsock-proxy";
static BOOL overlapped = FALSE;

struct session {
    SOCKET accepted, upstream;
    char records[4096], context[4096];
    DWORD records_size, context_size;
    struct sockaddr_storage destination;
    char first[61]; /* what is seen of the content */
};

/* One control code; gives WSAGetLastError's number, or 0. */
static int control(SOCKET s, DWORD code, void *in, DWORD in_size, void *out, DWORD out_size, DWORD *count)
{
    if (!overlapped) {
        return WSAIoctl(s, code, in, in_size, out, out_size, count, NULL, NULL) == 0 ? 0 : WSAGetLastError();
    }
    WSAOVERLAPPED operation = {0};
    DWORD flags;
    int error = 0;
    operation.hEvent = WSACreateEvent();
    if (operation.hEvent == WSA_INVALID_EVENT) {
        return WSAGetLastError();
    }
    if (WSAIoctl(s, code, in, in_size, out, out_size, count, &operation, NULL) == SOCKET_ERROR) {
        error = WSAGetLastError();
    }
    /* `operation` and the buffers must live until then. */
    if (error == WSA_IO_PENDING) {
        error = WSAGetOverlappedResult(s, &operation, count, TRUE, &flags) ? 0 : WSAGetLastError();
    }
    WSACloseEvent(operation.hEvent);
    return error;
}

static void read_destination(struct session *session)
{
    const char *address = session->context + DESTINATION_AT, *port = session->context + PORT_AT;
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    memcpy(&v6.sin6_addr, address, 16);
    memcpy(&v6.sin6_port, port, 2);
    if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
        memcpy(&session->destination, &v6, sizeof v6);
        return;
    }
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6.sin6_port};
    memcpy(&v4.sin_addr, address + 12, 4);
    memcpy(&session->destination, &v4, sizeof v4);
}

/* Records and context of the accepted connection. */
static int ask(struct session *session)
{
    int error = control(session->accepted, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, NULL, 0, session->records,
                        sizeof session->records, &session->records_size);
    if (error == 0) {
        error = control(session->accepted, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, NULL, 0, session->context,
                        sizeof session->context, &session->context_size);
    }
    if (error == 0) {
        read_destination(session);
    }
    return error;
}

/* The records are set before connect: so every provider gets its turn, and this one no second. */
static int dial(struct session *session)
{
    int family = session->destination.ss_family, yes = 1;
    DWORD none;
    session->upstream = WSASocketW(family, SOCK_STREAM, IPPROTO_TCP, NULL, 0, WSA_FLAG_OVERLAPPED);
    if (session->upstream == INVALID_SOCKET) {
        return WSAGetLastError();
    }
    int error = control(session->upstream, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, session->records,
                        session->records_size, NULL, 0, &none);
    if (error != 0) {
        return error;
    }
    socklen_t size = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (connect(session->upstream, (struct sockaddr *)&session->destination, size) != 0) {
        return WSAGetLastError();
    }
    setsockopt(session->upstream, IPPROTO_TCP, TCP_NODELAY, (const char *)&yes, sizeof yes);
    setsockopt(session->accepted, IPPROTO_TCP, TCP_NODELAY, (const char *)&yes, sizeof yes);
    return 0;
}

/* What one side sends, to its end, which is passed on. FALSE after an error. */
static BOOL pump(SOCKET from, SOCKET to, char *first)
{
    char buffer[65536];
    for (;;) {
        ssize_t got = recv(from, buffer, sizeof buffer, 0);
        if (got <= 0) {
            return got == 0 && shutdown(to, SD_SEND) == 0;
        }
        if (first[0] == 0) {
            snprintf(first, 61, "%.*s", (int)got, buffer);
            first[strcspn(first, "\r\n")] = 0;
        }
        for (ssize_t sent = 0, n; sent < got; sent += n) {
            n = send(to, buffer + sent, (size_t)(got - sent), 0);
            if (n < 0) {
                return FALSE;
            }
        }
    }
}

/* The next close is a reset, and whoever waits for data is told. */
static void reset(SOCKET s)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(s, SOL_SOCKET, SO_LINGER, (const char *)&now, sizeof now);
    shutdown(s, SD_RECEIVE);
}

static void *down(void *argument)
{
    struct session *session = argument;
    char unused[61] = "-";
    if (!pump(session->upstream, session->accepted, unused)) {
        reset(session->upstream);
        reset(session->accepted);
    }
    return NULL;
}

static BOOL relay(struct session *session)
{
    pthread_t other;
    if (pthread_create(&other, NULL, down, session) != 0) {
        return FALSE;
    }
    BOOL whole = pump(session->accepted, session->upstream, session->first);
    if (!whole) {
        reset(session->upstream);
        reset(session->accepted);
    }
    pthread_join(other, NULL);
    return whole;
}

static void report(const struct session *session, int error)
{
    char ip[INET6_ADDRSTRLEN] = "?", line[1024];
    uint32_t pid = 0, uid = 0;
    uint16_t port = 0, path = 0;
    if (session->context_size < PATH_AT) {
        printf("%s: not redirected (error %d); reset\n", service, error);
        return;
    }
    memcpy(&pid, session->context + PID_AT, sizeof pid);
    memcpy(&uid, session->context + UID_AT, sizeof uid);
    memcpy(&port, session->context + PORT_AT, sizeof port);
    memcpy(&path, session->context + PATH_BYTES_AT, sizeof path);
    const void *at = session->context + DESTINATION_AT + (session->destination.ss_family == AF_INET ? 12 : 0);
    inet_ntop(session->destination.ss_family, at, ip, sizeof ip);
    snprintf(line, sizeof line, "%s: hop %d: %.*s (pid %u, uid %u) -> %s port %u:", service, session->context[HOP_AT],
             (int)path, session->context + PATH_AT, pid, uid, ip, ntohs(port));
    if (error != 0) {
        printf("%s error %d; reset\n", line, error);
    } else {
        printf("%s '%s'\n", line, session->first);
    }
}

static void *serve(void *argument)
{
    struct session *session = argument;
    int error = ask(session);
    if (error == 0) {
        error = dial(session);
    }
    if (error != 0) {
        reset(session->accepted); /* never an orderly close: the application shall see a failure */
    } else if (!relay(session)) {
        error = WSAECONNRESET;
    }
    report(session, error);
    closesocket(session->accepted);
    if (session->upstream != INVALID_SOCKET) {
        closesocket(session->upstream);
    }
    free(session);
    return NULL;
}

static void start(SOCKET accepted)
{
    pthread_t thread;
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        reset(accepted);
        closesocket(accepted);
        return;
    }
    session->accepted = accepted;
    session->upstream = INVALID_SOCKET;
    if (pthread_create(&thread, NULL, serve, session) == 0) {
        pthread_detach(thread);
        return;
    }
    reset(accepted);
    closesocket(accepted);
    free(session);
}

static void *accept_all(void *listener)
{
    for (;;) {
        SOCKET accepted = accept((SOCKET)(intptr_t)listener, NULL, NULL);
        if (accepted != INVALID_SOCKET) {
            start(accepted);
        } else {
            usleep(10000); /* out of descriptors, for one */
        }
    }
    return NULL;
}

static SOCKET listen_at(const struct sockaddr *at, socklen_t size)
{
    int yes = 1;
    SOCKET s = WSASocketW(at->sa_family, SOCK_STREAM, IPPROTO_TCP, NULL, 0, WSA_FLAG_OVERLAPPED);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, (const char *)&yes, sizeof yes);
    if (s == INVALID_SOCKET || bind(s, at, size) != 0 || listen(s, 512) != 0) {
        perror("cannot listen");
        exit(1);
    }
    return s;
}

int main(int argc, char **argv)
{
    WSADATA data;
    pthread_t thread;
    int port = argc > 1 ? atoi(argv[1]) : 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--overlapped") == 0) {
            overlapped = TRUE;
        } else if (strcmp(argv[i], "--name") == 0 && i + 1 < argc) {
            service = argv[++i];
        } else {
            port = 0;
        }
    }
    if (port <= 0 || port > 65535) {
        fprintf(stderr, "usage: winsock_proxy PORT [--name NAME] [--overlapped]\n");
        return 2;
    }
    int error = WSAStartup(MAKEWORD(2, 2), &data);
    if (error != 0) {
        fprintf(stderr, "WSAStartup: error %d\n", error);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port, .sin6_addr = in6addr_loopback};
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SOCKET first = listen_at((struct sockaddr *)&v4, sizeof v4), second = listen_at((struct sockaddr *)&v6, sizeof v6);
    if (pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)second) != 0) {
        return 1;
    }
    accept_all((void *)(intptr_t)first);
    return 0;
}
