/* Redirected datagrams: statements 67 to 80 of docs/conformance.md, by control messages. */
#include "datagram.h"

#include <string.h>
#include <unistd.h>

enum { ROOM = 4096 };

static void statement_67_the_first_datagram_carries_the_records(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 0);
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    send_from(client, "first", &to, sizeof to);
    struct received got = receive(proxy, ROOM);
    EQUAL(got.length, 5);
    SAME(got.text, "first", 5);
    EQUAL(got.messages, 1);
    EQUAL(got.level, IPPROTO_IP);
    EQUAL(got.records.size, RECORDS_HEADER + RECORDS_HOP);
    EQUAL(got.flags & MSG_CTRUNC, 0);
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

static void statement_68_the_next_does_not(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 1);
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    for (int i = 0; i < 20; i++) {
        send_from(client, "datagram", &to, sizeof to);
        EQUAL(receive(proxy, ROOM).messages, i == 0 ? 2 : 0);
    }
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

static void statement_69_switched_off_there_is_none(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(0, 0);
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    send_from(client, "first", &to, sizeof to);
    struct received got = receive(proxy, ROOM);
    EQUAL(got.messages, 0);
    EQUAL(got.flags, 0);
    /* Switched on and off again. */
    BOOL off = FALSE, state = TRUE;
    int size = sizeof state;
    int other = app_udp(AF_INET);
    switch_on(proxy, IPPROTO_IP, IP_WFP_REDIRECT_RECORDS);
    EQUAL(getsockopt(proxy, IPPROTO_IP, IP_WFP_REDIRECT_RECORDS, (char *)&state, &size), 0);
    EQUAL(state, TRUE);
    EQUAL(setsockopt(proxy, IPPROTO_IP, IP_WFP_REDIRECT_RECORDS, (const char *)&off, sizeof off), 0);
    EQUAL(getsockopt(proxy, IPPROTO_IP, IP_WFP_REDIRECT_RECORDS, (char *)&state, &size), 0);
    EQUAL(state, FALSE);
    send_from(other, "first", &to, sizeof to);
    EQUAL(receive(proxy, ROOM).messages, 0);
    close(client);
    close(other);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

static void statement_70_the_context_likewise(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(0, 1);
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    send_from(client, "first", &to, sizeof to);
    struct received got = receive(proxy, ROOM);
    size_t size;
    EQUAL(got.messages, 1);
    EQUAL(got.records.size, 0);
    const unsigned char *own = own_bytes(&got.context, &size);
    EQUAL(size, ACME_CONTEXT_SIZE);
    SAME(own, ACME_CONTEXT, ACME_CONTEXT_SIZE);
    SAME(got.context.bytes + CONTEXT_PORT_AT, &to.sin_port, 2);
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

static SOCKET acme_udp6(int only)
{
    be("acme");
    SOCKET proxy = udp(AF_INET6);
    struct sockaddr_in6 at = address6(only ? "::1" : "::", (int)setting("ACME"));
    EQUAL(setsockopt(proxy, IPPROTO_IPV6, IPV6_V6ONLY, (const char *)&only, sizeof only), 0);
    EQUAL(bind(proxy, (struct sockaddr *)&at, sizeof at), 0);
    return proxy;
}

static void statement_71_ipv6(void)
{
    scene_begin();
    SOCKET proxy = acme_udp6(1);
    switch_on(proxy, IPPROTO_IPV6, IPV6_WFP_REDIRECT_RECORDS);
    switch_on(proxy, IPPROTO_IPV6, IPV6_WFP_REDIRECT_CONTEXT);
    int client = app_udp(AF_INET6);
    struct sockaddr_in6 to = address6("2001:db8::10", 53);
    send_from(client, "first", &to, sizeof to);
    struct received got = receive(proxy, ROOM);
    EQUAL(got.messages, 2);
    EQUAL(got.level, IPPROTO_IPV6);
    EQUAL(got.records.size, RECORDS_HEADER + RECORDS_HOP);
    SAME(got.context.bytes + CONTEXT_DESTINATION_AT, &to.sin6_addr, 16);
    send_from(client, "second", &to, sizeof to);
    EQUAL(receive(proxy, ROOM).messages, 0);
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

/* Either pair of options, and both: the message comes once. */
static void statement_72_a_dual_stack_socket(void)
{
    scene_begin();
    SOCKET proxy = acme_udp6(0);
    struct sockaddr_in to = address("192.0.2.10", 53);
    struct sockaddr_in6 to6 = address6("2001:db8::10", 53);
    switch_on(proxy, IPPROTO_IP, IP_WFP_REDIRECT_RECORDS);
    switch_on(proxy, IPPROTO_IPV6, IPV6_WFP_REDIRECT_RECORDS);
    int client = app_udp(AF_INET), client6 = app_udp(AF_INET6);
    send_from(client, "mapped", &to, sizeof to);
    struct received got = receive(proxy, ROOM);
    EQUAL(got.messages, 1);
    CHECK(got.level == IPPROTO_IP || got.level == IPPROTO_IPV6);
    EQUAL(got.records.size, RECORDS_HEADER + RECORDS_HOP);
    send_from(client6, "v6", &to6, sizeof to6);
    got = receive(proxy, ROOM);
    EQUAL(got.messages, 1);
    CHECK(got.level == IPPROTO_IP || got.level == IPPROTO_IPV6);
    close(client);
    close(client6);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

/* The level is that of the option which the receiver has switched on. */
static void statement_72_the_level_that_was_switched_on(void)
{
    scene_begin();
    SOCKET proxy = acme_udp6(0);
    struct sockaddr_in to = address("192.0.2.10", 53);
    switch_on(proxy, IPPROTO_IPV6, IPV6_WFP_REDIRECT_RECORDS);
    int client = app_udp(AF_INET);
    send_from(client, "mapped", &to, sizeof to);
    struct received got = receive(proxy, ROOM);
    EQUAL(got.messages, 1);
    EQUAL(got.level, IPPROTO_IPV6);
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

static void statement_73_too_little_room_for_control(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 0);
    struct sockaddr_in to = address("192.0.2.10", 53);
    size_t enough = WSA_CMSG_LEN(RECORDS_HEADER + RECORDS_HOP);
    for (size_t room = 0; room <= enough; room += room + 9 < enough ? 9 : 1) {
        int client = app_udp(AF_INET);
        send_from(client, "whole", &to, sizeof to);
        struct received got = receive(proxy, room);
        EQUAL(got.length, 5);
        SAME(got.text, "whole", 5);
        EQUAL(got.flags & MSG_CTRUNC, room < enough ? MSG_CTRUNC : 0);
        EQUAL(got.messages, room < enough ? 0 : 1);
        close(client);
    }
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

/* Half a record is never seen, not even behind the length that is told. */
static void statement_73_nothing_of_it_is_written(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 1);
    struct sockaddr_in to = address("192.0.2.10", 53);
    int client = app_udp(AF_INET);
    send_from(client, "whole", &to, sizeof to);
    char text[16], control[100];
    DWORD length = 0;
    WSABUF data = {.len = sizeof text, .buf = text};
    WSAMSG message = {.lpBuffers = &data, .dwBufferCount = 1, .Control = {.len = sizeof control, .buf = control}};
    check_fill(control, sizeof control);
    EQUAL(WSARecvMsg(proxy, &message, &length, NULL, NULL), 0);
    EQUAL(length, 5);
    EQUAL(message.dwFlags & MSG_CTRUNC, MSG_CTRUNC);
    EQUAL(message.Control.len, 0);
    UNTOUCHED(control, sizeof control);
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

static void statement_74_a_plain_recv_loses_the_record(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 1);
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    char text[16];
    send_from(client, "first", &to, sizeof to);
    EQUAL(recv(proxy, text, sizeof text, 0), 5);
    SAME(text, "first", 5);
    send_from(client, "next", &to, sizeof to);
    struct received got = receive(proxy, ROOM);
    EQUAL(got.length, 4);
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

/* An upstream socket, and the datagram's arrival at beta with both hops. */
static void statement_75_the_first_upstream_datagram_with_records(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 0);
    be("beta");
    SOCKET beta = udp(AF_INET);
    struct sockaddr_in at = listener_of("beta"), to = address("192.0.2.10", 53);
    switch_on(beta, IPPROTO_IP, IP_WFP_REDIRECT_RECORDS);
    switch_on(beta, IPPROTO_IP, IP_WFP_REDIRECT_CONTEXT);
    EQUAL(bind(beta, (struct sockaddr *)&at, sizeof at), 0);
    int client = app_udp(AF_INET);
    send_from(client, "first", &to, sizeof to);
    struct received got = receive(proxy, ROOM);
    SOCKET upstream = udp(AF_INET);
    EQUAL(send_records(upstream, "onward", &to, sizeof to, IPPROTO_IP, &got.records), 0);
    be("beta");
    struct received second = receive(beta, ROOM);
    EQUAL(second.records.size, RECORDS_HEADER + 2 * RECORDS_HOP);
    EQUAL(second.records.bytes[RECORDS_HOPS_AT], 2);
    SAME(second.records.bytes + 24, got.records.bytes + 24, 16); /* the trail's identity */
    EQUAL(second.context.bytes[5], 2);
    close(client);
    EQUAL(closesocket(proxy), 0);
    EQUAL(closesocket(beta), 0);
    EQUAL(closesocket(upstream), 0);
    scene_end();
}

static SOCKET destination(void)
{
    be("origin");
    SOCKET made = udp(AF_INET);
    struct sockaddr_in at = address("192.0.2.10", 53);
    EQUAL(bind(made, (struct sockaddr *)&at, sizeof at), 0);
    be("acme");
    return made;
}

static void arrives(SOCKET at, const char *text)
{
    char got[64];
    EQUAL(recv(at, got, sizeof got, 0), strlen(text));
    SAME(got, text, strlen(text));
}

static void statement_76_later_ones_keep_the_history(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 0), end = destination();
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    send_from(client, "first", &to, sizeof to);
    struct received got = receive(proxy, ROOM);
    SOCKET upstream = udp(AF_INET);
    EQUAL(send_records(upstream, "one", &to, sizeof to, IPPROTO_IP, &got.records), 0);
    arrives(end, "one");
    EQUAL(send_records(upstream, "two", &to, sizeof to, IPPROTO_IP, NULL), 0);
    arrives(end, "two");
    EQUAL(sendto(upstream, "three", 5, 0, (struct sockaddr *)&to, sizeof to), 5);
    arrives(end, "three");
    close(client);
    EQUAL(closesocket(proxy), 0);
    EQUAL(closesocket(end), 0);
    EQUAL(closesocket(upstream), 0);
    scene_end();
}

static void statement_77_two_remotes_are_two_flows(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 1);
    int client = app_udp(AF_INET);
    struct sockaddr_in to[] = {address("192.0.2.10", 53), address("192.0.2.20", 54)};
    for (int i = 0; i < 2; i++) {
        send_from(client, "first", &to[i], sizeof to[i]);
        struct received got = receive(proxy, ROOM);
        EQUAL(got.messages, 2);
        SAME(got.context.bytes + CONTEXT_PORT_AT, &to[i].sin_port, 2);
        SAME(got.context.bytes + CONTEXT_DESTINATION_AT + 12, &to[i].sin_addr, 4);
    }
    for (int i = 0; i < 2; i++) {
        send_from(client, "again", &to[i], sizeof to[i]);
        EQUAL(receive(proxy, ROOM).messages, 0);
    }
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

static void statement_78_a_connected_socket_once(void)
{
    scene_begin();
    SOCKET proxy = acme_udp(1, 1);
    int client = app_udp(AF_INET);
    struct sockaddr_in to = address("192.0.2.10", 53);
    be("app");
    EQUAL(connect(client, (struct sockaddr *)&to, sizeof to), 0);
    for (int i = 0; i < 3; i++) {
        EQUAL(send(client, "datagram", 8, 0), 8);
    }
    be("acme");
    for (int i = 0; i < 3; i++) {
        EQUAL(receive(proxy, ROOM).messages, i == 0 ? 2 : 0);
    }
    close(client);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

static void statement_79_the_options_on_a_tcp_socket(void)
{
    static const int options[][2] = {{IPPROTO_IP, IP_WFP_REDIRECT_RECORDS},
                                     {IPPROTO_IP, IP_WFP_REDIRECT_CONTEXT},
                                     {IPPROTO_IPV6, IPV6_WFP_REDIRECT_RECORDS},
                                     {IPPROTO_IPV6, IPV6_WFP_REDIRECT_CONTEXT}};
    scene_begin();
    SOCKET sockets[] = {tcp(), WSASocketW(AF_INET6, SOCK_STREAM, IPPROTO_TCP, NULL, 0, WSA_FLAG_OVERLAPPED)};
    for (size_t s = 0; s < 2; s++) {
        for (size_t i = 0; i < 4; i++) {
            BOOL value = TRUE;
            int size = sizeof value;
            FAILS(setsockopt(sockets[s], options[i][0], options[i][1], (const char *)&value, sizeof value),
                  WSAENOPROTOOPT);
            FAILS(getsockopt(sockets[s], options[i][0], options[i][1], (char *)&value, &size), WSAENOPROTOOPT);
        }
        EQUAL(closesocket(sockets[s]), 0);
    }
    scene_end();
}

static void statement_80_one_source_port_on_two_addresses(void)
{
    static const char *sources[] = {"192.0.2.10", "192.0.2.20"};
    int clients[2];
    struct blob records[2];
    struct sockaddr_in to = address("192.0.2.10", 53);
    scene_begin();
    SOCKET proxy = acme_udp(1, 0);
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in from = address(sources[i], 7777);
        clients[i] = app_udp(AF_INET);
        EQUAL(bind(clients[i], (struct sockaddr *)&from, sizeof from), 0);
        send_from(clients[i], sources[i], &to, sizeof to);
        struct received got = receive(proxy, ROOM);
        SAME(got.text, sources[i], strlen(sources[i]));
        EQUAL(got.messages, 1);
        records[i] = got.records;
        SAME(got.records.bytes + 112 + 12, &from.sin_addr, 4);
    }
    CHECK(memcmp(records[0].bytes, records[1].bytes, records[0].size) != 0);
    close(clients[0]);
    close(clients[1]);
    EQUAL(closesocket(proxy), 0);
    scene_end();
}

TESTS(TEST(acme, statement_67_the_first_datagram_carries_the_records), TEST(acme, statement_68_the_next_does_not),
      TEST(acme, statement_69_switched_off_there_is_none), TEST(acme, statement_70_the_context_likewise),
      TEST(acme, statement_71_ipv6), TEST(acme, statement_72_a_dual_stack_socket),
      TEST(acme, statement_72_the_level_that_was_switched_on), TEST(acme, statement_73_too_little_room_for_control),
      TEST(acme, statement_73_nothing_of_it_is_written), TEST(acme, statement_74_a_plain_recv_loses_the_record),
      TEST(two, statement_75_the_first_upstream_datagram_with_records),
      TEST(acme, statement_76_later_ones_keep_the_history), TEST(acme, statement_77_two_remotes_are_two_flows),
      TEST(acme, statement_78_a_connected_socket_once), TEST(none, statement_79_the_options_on_a_tcp_socket),
      TEST(acme, statement_80_one_source_port_on_two_addresses))
