/* SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT: statements 16 to 22 of docs/conformance.md. */
#include "scene.h"

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

static int ask(SOCKET socket, void *buffer, DWORD room, DWORD *count)
{
    return WSAIoctl(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, NULL, 0, buffer, room, count, NULL, NULL);
}

static int port_in(const struct blob *context)
{
    uint16_t port;
    memcpy(&port, context->bytes + CONTEXT_PORT_AT, sizeof port);
    return ntohs(port);
}

static void expect_own(const struct blob *context, const char *expected, size_t size)
{
    size_t got = 0;
    const unsigned char *own = own_bytes(context, &got);
    EQUAL(got, size);
    SAME(own, expected, size);
    CHECK(own + (size + 7) / 8 * 8 == context->bytes + context->size);
}

static void statement_16_the_bytes_given_at_the_redirect(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob context = context_of(connection.accepted);
    static const unsigned char destination[16] = {[10] = 0xff, 0xff, 192, 0, 2, 10};
    expect_own(&context, ACME_CONTEXT, ACME_CONTEXT_SIZE);
    SAME(context.bytes + CONTEXT_DESTINATION_AT, destination, sizeof destination);
    EQUAL(port_in(&context), 80);
    close_both(connection);
    scene_end();
}

static void statement_17_size_0_asks_for_the_size(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob context = context_of(connection.accepted);
    for (DWORD room = 0; room <= context.size + 8; room++) {
        unsigned char buffer[4096];
        DWORD count = 1;
        check_fill(buffer, sizeof buffer);
        int result = ask(connection.accepted, room ? buffer : NULL, room, &count);
        if (room >= context.size) {
            EQUAL(result, 0);
            EQUAL(count, context.size);
            SAME(buffer, context.bytes, count);
            UNTOUCHED(buffer + count, sizeof buffer - count);
            continue;
        }
        int small = room >= 1 && room <= 3;
        FAILS(result, small ? WSAEINVAL : ERROR_INSUFFICIENT_BUFFER);
        EQUAL(count, small ? 0 : context.size);
        UNTOUCHED(buffer, sizeof buffer);
    }
    close_both(connection);
    scene_end();
}

static void statement_18_nothing_of_the_provider(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob context = context_of(connection.accepted);
    expect_own(&context, "", 0);
    EQUAL(records_of(connection.accepted).bytes[RECORDS_HOPS_AT], 1);
    close_both(connection);
    int client;
    SOCKET accepted = direct(&client);
    unsigned char buffer[1024];
    DWORD count = 1;
    FAILS(ask(accepted, buffer, sizeof buffer, &count), WSAEINVAL);
    EQUAL(count, 0);
    close_both((struct redirected){client, accepted});
    scene_end();
}

static void statement_19_the_last_providers_context(void)
{
    scene_begin();
    SOCKET beta = listening("beta", listener_of("beta"));
    struct redirected first = redirected();
    struct blob records = records_of(first.accepted);
    SOCKET upstream = tcp();
    EQUAL(set_records(upstream, &records), 0);
    struct sockaddr_in to = address("192.0.2.10", 80);
    EQUAL(connect(upstream, (struct sockaddr *)&to, sizeof to), 0);
    be("beta");
    SOCKET second = accept(beta, NULL, NULL);
    CHECK(second != INVALID_SOCKET);
    struct blob context = context_of(second);
    expect_own(&context, BETA_CONTEXT, BETA_CONTEXT_SIZE);
    EQUAL(records_of(second).bytes[RECORDS_HOPS_AT], 2);
    context = context_of(first.accepted);
    expect_own(&context, ACME_CONTEXT, ACME_CONTEXT_SIZE);
    close_both(first);
    EQUAL(closesocket(upstream), 0);
    EQUAL(closesocket(second), 0);
    EQUAL(closesocket(beta), 0);
    scene_end();
}

static void statement_20_the_value_at_the_redirect_counts(void)
{
    scene_begin();
    SOCKET listener = acme_listens();
    struct redirected before = redirect(listener, 80);
    harness("another-context");
    struct redirected after = redirect(listener, 80);
    struct blob context = context_of(before.accepted);
    expect_own(&context, ACME_CONTEXT, ACME_CONTEXT_SIZE);
    context = context_of(after.accepted);
    expect_own(&context, "another", 7);
    close_both(before);
    close_both(after);
    EQUAL(closesocket(listener), 0);
    scene_end();
}

static void statement_21_each_flow_its_own(void)
{
    enum { FLOWS = 40 };
    struct redirected flows[FLOWS];
    scene_begin();
    SOCKET listener = acme_listens();
    for (int i = 0; i < FLOWS; i++) {
        flows[i] = redirect(listener, 1000 + i);
    }
    for (int i = FLOWS - 1; i >= 0; i--) {
        struct blob context = context_of(flows[i].accepted);
        EQUAL(port_in(&context), 1000 + i);
        close_both(flows[i]);
    }
    EQUAL(closesocket(listener), 0);
    scene_end();
}

static void statement_22_any_bytes(void)
{
    scene_begin();
    SOCKET listener = acme_listens();
    harness("context-of-all-bytes");
    struct redirected connection = redirect(listener, 80);
    struct blob context = context_of(connection.accepted);
    char all[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (char)i;
    }
    expect_own(&context, all, sizeof all);
    close_both(connection);
    EQUAL(closesocket(listener), 0);
    scene_end();
}

TESTS(TEST(acme, statement_16_the_bytes_given_at_the_redirect), TEST(acme, statement_17_size_0_asks_for_the_size),
      TEST(bare, statement_18_nothing_of_the_provider), TEST(two, statement_19_the_last_providers_context),
      TEST(acme, statement_20_the_value_at_the_redirect_counts), TEST(acme, statement_21_each_flow_its_own),
      TEST(acme, statement_22_any_bytes))
