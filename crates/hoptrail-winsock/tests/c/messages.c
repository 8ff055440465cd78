/* WSARecvMsg and WSASendMsg beyond the statements: as Windows programs find and use them. */
#include "completion.h"
#include "datagram.h"

#include <string.h>
#include <unistd.h>

enum { ROOM = 4096 };

static void *extension(SOCKET socket, GUID guid)
{
    void *function = NULL;
    DWORD count = 0;
    EQUAL(WSAIoctl(socket, SIO_GET_EXTENSION_FUNCTION_POINTER, &guid, sizeof guid, &function, sizeof function, &count,
                   NULL, NULL),
          0);
    EQUAL(count, sizeof function);
    CHECK(function != NULL);
    return function;
}

/* How Windows programs get at the two functions. */
static void they_are_extension_functions(void)
{
    static const GUID receive_id = WSAID_WSARECVMSG, send_id = WSAID_WSASENDMSG, none = {1, 2, 3, {4}};
    scene_begin();
    SOCKET proxy = acme_udp(1, 1);
    LPFN_WSARECVMSG receive_message;
    LPFN_WSASENDMSG send_message;
    *(void **)&receive_message = extension(proxy, receive_id);
    *(void **)&send_message = extension(proxy, send_id);
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    send_from(client, "question", &to, sizeof to);
    char text[16], control[4096];
    struct sockaddr_in6 from;
    DWORD length = 0;
    WSABUF data = {.len = sizeof text, .buf = text};
    WSAMSG message = {.name = (LPSOCKADDR)&from,
                      .namelen = sizeof from,
                      .lpBuffers = &data,
                      .dwBufferCount = 1,
                      .Control = {.len = sizeof control, .buf = control}};
    EQUAL(receive_message(proxy, &message, &length, NULL, NULL), 0);
    EQUAL(length, 8);
    CHECK(message.Control.len > 0);
    /* The answer goes back to the peer, from the address to which it had sent. */
    message.Control = (WSABUF){0};
    data.len = 8;
    EQUAL(send_message(proxy, &message, 0, &length, NULL, NULL), 0);
    struct sockaddr_in answered;
    int size = sizeof answered;
    EQUAL(recvfrom((SOCKET)client, text, sizeof text, 0, (struct sockaddr *)&answered, &size), 8);
    SAME(text, "question", 8);
    EQUAL(answered.sin_addr.s_addr, to.sin_addr.s_addr);
    EQUAL(answered.sin_port, to.sin_port);
    void *function = NULL;
    FAILS(WSAIoctl(proxy, SIO_GET_EXTENSION_FUNCTION_POINTER, (void *)&none, sizeof none, &function, sizeof function,
                   &length, NULL, NULL),
          WSAEINVAL);
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

static void an_overlapped_receive(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 0);
    char text[16], control[4096];
    DWORD length = 0;
    WSABUF data = {.len = sizeof text, .buf = text};
    WSAMSG message = {.lpBuffers = &data, .dwBufferCount = 1, .Control = {.len = sizeof control, .buf = control}};
    WSAOVERLAPPED operation = {.hEvent = WSACreateEvent()};
    FAILS(WSARecvMsg(proxy, &message, &length, &operation, NULL), WSA_IO_PENDING);
    CHECK(!is_signalled(operation.hEvent));
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    send_from(client, "late", &to, sizeof to);
    EQUAL(result_of(proxy, &operation, &length), 0);
    EQUAL(length, 4);
    SAME(text, "late", 4);
    WSACMSGHDR *part = WSA_CMSG_FIRSTHDR(&message);
    CHECK(part != NULL);
    EQUAL(part->cmsg_len, WSA_CMSG_LEN(RECORDS_HEADER + RECORDS_HOP));
    EQUAL(part->cmsg_type, IP_WFP_REDIRECT_RECORDS);
    CHECK(WSA_CMSG_NXTHDR(&message, part) == NULL);
    /* And one that is cancelled: the datagram is still there afterwards. */
    message.Control.len = sizeof control;
    CHECK(WSAResetEvent(operation.hEvent));
    FAILS(WSARecvMsg(proxy, &message, &length, &operation, NULL), WSA_IO_PENDING);
    CHECK(CancelIoEx((HANDLE)proxy, &operation));
    EQUAL(result_of(proxy, &operation, &length), WSA_OPERATION_ABORTED);
    send_from(client, "later", &to, sizeof to);
    EQUAL(receive(proxy, ROOM).length, 5);
    CHECK(WSACloseEvent(operation.hEvent));
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

/* A datagram longer than the buffer: told, and the records come nevertheless. */
static void a_datagram_too_long(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 0);
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    send_from(client, "much too long", &to, sizeof to);
    char text[5] = "....", control[4096];
    DWORD length = 77;
    WSABUF data[] = {{.len = 2, .buf = text}, {.len = 2, .buf = text + 2}};
    WSAMSG message = {.lpBuffers = data, .dwBufferCount = 2, .Control = {.len = sizeof control, .buf = control}};
    FAILS(WSARecvMsg(proxy, &message, &length, NULL, NULL), WSAEMSGSIZE);
    EQUAL(message.dwFlags & MSG_TRUNC, MSG_TRUNC);
    SAME(text, "much", 4);
    CHECK(WSA_CMSG_FIRSTHDR(&message) != NULL);
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

/* Records of another's, altered ones, ones for a TCP socket: refused, and nothing is sent. */
static void records_that_are_refused(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 0), upstream = udp(AF_INET), stream = tcp(), end;
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    be("origin");
    end = udp(AF_INET);
    EQUAL(bind(end, (struct sockaddr *)&to, sizeof to), 0);
    be("acme");
    send_from(client, "first", &to, sizeof to);
    struct blob records = receive(proxy, ROOM).records, altered = records;
    altered.bytes[100] ^= 1;
    FAILS(send_records(upstream, "x", &to, sizeof to, IPPROTO_IP, &altered), WSAEINVAL);
    altered = records;
    altered.size--;
    FAILS(send_records(upstream, "x", &to, sizeof to, IPPROTO_IP, &altered), WSAEINVAL);
    be("other");
    FAILS(send_records(upstream, "x", &to, sizeof to, IPPROTO_IP, &records), WSAEACCES);
    be("acme");
    FAILS(send_records(stream, "x", &to, sizeof to, IPPROTO_IP, &records), WSAENOPROTOOPT);
    char text[16];
    FAILS(recv(end, text, sizeof text, MSG_DONTWAIT), WSAEWOULDBLOCK);
    /* Of either level, on a connected socket too. */
    EQUAL(send_records(upstream, "good", &to, sizeof to, IPPROTO_IPV6, &records), 0);
    EQUAL(recv(end, text, sizeof text, 0), 4);
    EQUAL(connect(upstream, (struct sockaddr *)&to, sizeof to), 0);
    EQUAL(send_records(upstream, "again", NULL, 0, IPPROTO_IP, &records), 0);
    EQUAL(recv(end, text, sizeof text, 0), 5);
    close(client);
    SOCKET all[] = {proxy, upstream, stream, end};
    for (int i = 0; i < 4; i++) {
        EQUAL(closesocket(all[i]), 0);
    }
    scene_end();
}

/* Lengths that lead astray, in every field of a message. */
static void messages_that_lie(void)
{
    scene_begin();
    SOCKET upstream = udp(AF_INET);
    struct sockaddr_in to = address("127.0.0.1", 9);
    _Alignas(16) char control[64];
    char text[4] = "abc";
    DWORD sent;
    static const SIZE_T lengths[] = {0, 1, 15, 65, 0x7fffffff, 0xffffffffffffffff, 0xfffffffffffffff9};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        WSABUF data = {.len = 3, .buf = text};
        WSAMSG message = {.name = (LPSOCKADDR)&to,
                          .namelen = sizeof to,
                          .lpBuffers = &data,
                          .dwBufferCount = 1,
                          .Control = {.len = sizeof control, .buf = control}};
        memset(control, 0, sizeof control);
        WSACMSGHDR *part = (WSACMSGHDR *)control;
        part->cmsg_len = lengths[i];
        part->cmsg_level = IPPROTO_IP;
        part->cmsg_type = IP_WFP_REDIRECT_RECORDS;
        FAILS(WSASendMsg(upstream, &message, 0, &sent, NULL, NULL), WSAEINVAL);
    }
    WSABUF data = {.len = 3, .buf = text};
    WSAMSG message = {.lpBuffers = &data, .dwBufferCount = 1};
    WSAMSG wrong[] = {message, message, message, message, message};
    wrong[0].lpBuffers = NOWHERE;
    wrong[1].dwBufferCount = 0xffffffff;
    wrong[2].Control = (WSABUF){.len = 100, .buf = NOWHERE};
    wrong[3].name = NOWHERE;
    wrong[3].namelen = 16;
    wrong[4].namelen = -1;
    for (size_t i = 0; i < 5; i++) {
        EQUAL(WSASendMsg(upstream, &wrong[i], 0, &sent, NULL, NULL), SOCKET_ERROR);
        CHECK(WSAGetLastError() == WSAEFAULT || WSAGetLastError() == WSAEMSGSIZE ||
              WSAGetLastError() == WSAEINVAL || WSAGetLastError() == WSAEDESTADDRREQ);
    }
    data.buf = NOWHERE;
    message.name = (LPSOCKADDR)&to;
    message.namelen = sizeof to;
    FAILS(WSASendMsg(upstream, &message, 0, &sent, NULL, NULL), WSAEFAULT);
    EQUAL(closesocket(upstream), 0);
    scene_end();
}

TESTS(TEST(acme, they_are_extension_functions), TEST(acme, an_overlapped_receive), TEST(acme, a_datagram_too_long),
      TEST(acme, records_that_are_refused), TEST(none, messages_that_lie))
