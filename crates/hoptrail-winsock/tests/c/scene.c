#include "scene.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void scene_begin(void)
{
    WSADATA data;
    EQUAL(WSAStartup(MAKEWORD(2, 2), &data), 0);
    if (getenv("LAB")) {
        be("acme");
    }
}

void scene_end(void)
{
    EQUAL(WSACleanup(), 0);
}

void be(const char *who)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/cgroup.procs", getenv("LAB"), who);
    int entrance = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(entrance >= 0);
    EQUAL(write(entrance, "0", 1), 1);
    close(entrance);
}

long setting(const char *name)
{
    const char *value = getenv(name);
    CHECK(value != NULL);
    return strtol(value, NULL, 10);
}

void harness(const char *order)
{
    char answer[16];
    printf("?%s\n", order);
    fflush(stdout);
    CHECK(fgets(answer, sizeof answer, stdin) != NULL);
    CHECK(strcmp(answer, "done\n") == 0);
}

struct sockaddr_in address(const char *ip, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    EQUAL(inet_pton(AF_INET, ip, &at.sin_addr), 1);
    return at;
}

struct sockaddr_in6 address6(const char *ip, int port)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    EQUAL(inet_pton(AF_INET6, ip, &at.sin6_addr), 1);
    return at;
}

struct sockaddr_in listener_of(const char *provider)
{
    return address("127.0.0.1", (int)setting(strcmp(provider, "acme") == 0 ? "ACME" : "BETA"));
}

SOCKET tcp(void)
{
    SOCKET made = WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0, WSA_FLAG_OVERLAPPED);
    CHECK(made != INVALID_SOCKET);
    return made;
}

SOCKET plain_tcp(void)
{
    SOCKET made = WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0, 0);
    CHECK(made != INVALID_SOCKET);
    return made;
}

static void listen_on(int socket, struct sockaddr_in at, int backlog)
{
    int yes = 1;
    EQUAL(setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), 0);
    EQUAL(bind(socket, (struct sockaddr *)&at, sizeof at), 0);
    EQUAL(listen(socket, backlog), 0);
}

SOCKET listening(const char *who, struct sockaddr_in at)
{
    be(who);
    SOCKET listener = tcp();
    listen_on((int)listener, at, 64);
    return listener;
}

SOCKET acme_listens(void)
{
    return listening("acme", listener_of("acme"));
}

int dial(const char *who, struct sockaddr_in to)
{
    be(who);
    int client = (int)socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(client >= 0);
    if (connect(client, (struct sockaddr *)&to, sizeof to) == 0) {
        return client;
    }
    close(client);
    return -1;
}

struct redirected redirect(SOCKET listener, int port)
{
    struct redirected made;
    made.client = dial("app", address("192.0.2.10", port));
    CHECK(made.client >= 0);
    be("acme");
    made.accepted = accept(listener, NULL, NULL);
    CHECK(made.accepted != INVALID_SOCKET);
    return made;
}

struct redirected redirected(void)
{
    SOCKET listener = acme_listens();
    struct redirected made = redirect(listener, 80);
    EQUAL(closesocket(listener), 0);
    return made;
}

SOCKET direct(int *client)
{
    SOCKET listener = acme_listens();
    *client = dial("app", listener_of("acme"));
    CHECK(*client >= 0);
    be("acme");
    SOCKET accepted = accept(listener, NULL, NULL);
    CHECK(accepted != INVALID_SOCKET);
    EQUAL(closesocket(listener), 0);
    return accepted;
}

void close_both(struct redirected connection)
{
    close(connection.client);
    EQUAL(closesocket(connection.accepted), 0);
}

/* The kernel takes one connection more than the backlog says, and drops further SYNs, which come again after a
 * second. Loopback is no provider's
 * business. */
struct unanswered unanswered(SOCKET socket)
{
    struct unanswered made = {.socket = socket};
    struct sockaddr_in at = address("127.0.0.1", 0);
    int size = sizeof at;
    be("origin");
    made.listener = (int)plain_tcp();
    listen_on(made.listener, at, 0);
    EQUAL(getsockname(made.listener, (struct sockaddr *)&at, &size), 0);
    made.filler = dial("origin", at);
    CHECK(made.filler >= 0);
    be("acme");
    int flags = fcntl((int)socket, F_GETFL);
    EQUAL(fcntl((int)socket, F_SETFL, flags | O_NONBLOCK), 0);
    FAILS(connect(socket, (struct sockaddr *)&at, sizeof at), WSAEWOULDBLOCK);
    EQUAL(fcntl((int)socket, F_SETFL, flags), 0);
    return made;
}

void answer(struct unanswered *connecting)
{
    close(accept(connecting->listener, NULL, NULL));
    struct pollfd ready = {.fd = (int)connecting->socket, .events = POLLOUT};
    EQUAL(poll(&ready, 1, 30000), 1);
}

static struct blob query(SOCKET socket, DWORD code)
{
    struct blob got;
    EQUAL(WSAIoctl(socket, code, NULL, 0, got.bytes, sizeof got.bytes, &got.size, NULL, NULL), 0);
    CHECK(got.size > 0 && got.size <= sizeof got.bytes);
    return got;
}

struct blob records_of(SOCKET socket)
{
    return query(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS);
}

struct blob context_of(SOCKET socket)
{
    return query(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT);
}

const unsigned char *own_bytes(const struct blob *context, size_t *size)
{
    uint16_t path, own;
    CHECK(context->size >= CONTEXT_HEADER);
    memcpy(&path, context->bytes + CONTEXT_PATH_BYTES_AT, sizeof path);
    memcpy(&own, context->bytes + CONTEXT_PROVIDER_BYTES_AT, sizeof own);
    *size = own;
    return context->bytes + CONTEXT_HEADER + (path + 7) / 8 * 8;
}

int set_records(SOCKET socket, const struct blob *records)
{
    DWORD none = 77;
    return WSAIoctl(socket, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, (void *)records->bytes, records->size, NULL, 0,
                    &none, NULL, NULL);
}

void say(int socket, const char *text)
{
    EQUAL(send(socket, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

void hear(int socket, const char *text)
{
    char got[256];
    size_t wanted = strlen(text);
    CHECK(wanted <= sizeof got);
    EQUAL(recv(socket, got, wanted, MSG_WAITALL), wanted);
    SAME(got, text, wanted);
}

static void *page(int protection)
{
    void *made = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(made != MAP_FAILED);
    return made;
}

void *no_access(void)
{
    return page(PROT_NONE);
}

void *read_only(void)
{
    return page(PROT_READ);
}

void *last_bytes(size_t size)
{
    unsigned char *made = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(made != MAP_FAILED && size <= 4096);
    EQUAL(munmap(made + 4096, 4096), 0);
    return made + 4096 - size;
}
