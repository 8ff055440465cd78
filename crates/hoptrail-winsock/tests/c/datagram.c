#include "datagram.h"

#include <string.h>

SOCKET udp(int family)
{
    SOCKET made = WSASocketW(family, SOCK_DGRAM, IPPROTO_UDP, NULL, 0, WSA_FLAG_OVERLAPPED);
    CHECK(made != INVALID_SOCKET);
    return made;
}

void switch_on(SOCKET socket, int level, int option)
{
    BOOL on = TRUE;
    EQUAL(setsockopt(socket, level, option, (const char *)&on, sizeof on), 0);
}

SOCKET acme_udp(int records, int context)
{
    be("acme");
    SOCKET proxy = udp(AF_INET);
    struct sockaddr_in at = listener_of("acme");
    if (records) {
        switch_on(proxy, IPPROTO_IP, IP_WFP_REDIRECT_RECORDS);
    }
    if (context) {
        switch_on(proxy, IPPROTO_IP, IP_WFP_REDIRECT_CONTEXT);
    }
    EQUAL(bind(proxy, (struct sockaddr *)&at, sizeof at), 0);
    return proxy;
}

static void keep(struct blob *blob, const unsigned char *data, size_t size)
{
    CHECK(size <= sizeof blob->bytes);
    memcpy(blob->bytes, data, size);
    blob->size = (DWORD)size;
}

struct received receive(SOCKET socket, size_t room)
{
    static _Alignas(16) char control[8192];
    struct received got = {.from_size = sizeof got.from};
    WSABUF data = {.len = sizeof got.text, .buf = got.text};
    WSAMSG message = {.name = (LPSOCKADDR)&got.from,
                      .namelen = sizeof got.from,
                      .lpBuffers = &data,
                      .dwBufferCount = 1,
                      .Control = {.len = (ULONG)room, .buf = room ? control : NULL}};
    CHECK(room <= sizeof control);
    check_fill(control, sizeof control);
    EQUAL(WSARecvMsg(socket, &message, &got.length, NULL, NULL), 0);
    CHECK(message.Control.len <= room);
    UNTOUCHED(control + room, sizeof control - room);
    got.from_size = message.namelen;
    got.flags = message.dwFlags;
    if (message.dwFlags & MSG_CTRUNC) {
        return got;
    }
    for (WSACMSGHDR *part = WSA_CMSG_FIRSTHDR(&message); part; part = WSA_CMSG_NXTHDR(&message, part)) {
        size_t size = part->cmsg_len - WSA_CMSG_LEN(0);
        struct blob *into = part->cmsg_type == IP_WFP_REDIRECT_RECORDS ? &got.records : &got.context;
        CHECK(part->cmsg_type == IP_WFP_REDIRECT_RECORDS || part->cmsg_type == IP_WFP_REDIRECT_CONTEXT);
        EQUAL(into->size, 0);
        keep(into, WSA_CMSG_DATA(part), size);
        got.level = part->cmsg_level;
        got.messages++;
    }
    return got;
}

int app_udp(int family)
{
    be("app");
    int made = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(made >= 0);
    be("acme");
    return made;
}

void send_from(int socket, const char *text, const void *to, socklen_t size)
{
    be("app");
    EQUAL(sendto(socket, text, strlen(text), 0, to, size), strlen(text));
    be("acme");
}

int send_records(SOCKET socket, const char *text, void *to, INT size, int level, const struct blob *records)
{
    _Alignas(16) char control[8192];
    WSABUF data = {.len = (ULONG)strlen(text), .buf = (char *)text};
    WSAMSG message = {.name = to, .namelen = size, .lpBuffers = &data, .dwBufferCount = 1};
    if (records) {
        message.Control.buf = control;
        message.Control.len = (ULONG)WSA_CMSG_SPACE(records->size);
        memset(control, 0, sizeof control);
        WSACMSGHDR *part = WSA_CMSG_FIRSTHDR(&message);
        part->cmsg_len = WSA_CMSG_LEN(records->size);
        part->cmsg_level = level;
        part->cmsg_type = IP_WFP_REDIRECT_RECORDS;
        memcpy(WSA_CMSG_DATA(part), records->bytes, records->size);
    }
    DWORD sent = 0;
    int result = WSASendMsg(socket, &message, 0, &sent, NULL, NULL);
    if (result == 0) {
        EQUAL(sent, strlen(text));
    }
    return result;
}
