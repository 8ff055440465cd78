/* Codes and errors: statements 93 to 98 of docs/conformance.md, and what the header itself promises. */
#include "scene.h"

#include <pthread.h>
#include <stddef.h>
#include <unistd.h>

static int plain(SOCKET socket, DWORD code)
{
    unsigned char input[240] = {0}, output[1024];
    DWORD count = 0;
    return WSAIoctl(socket, code, input, sizeof input, output, sizeof output, &count, NULL, NULL);
}

static void statement_93_the_three_codes_exactly(void)
{
    EQUAL(SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, 0x980000DC);
    EQUAL(SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, 0x980000DD);
    EQUAL(SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, 0x980000DE);
    EQUAL((int)SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, -1744830244);
    EQUAL((int)SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, -1744830243);
    EQUAL((int)SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, -1744830242);
    EQUAL(_WSAIOW(IOC_VENDOR, 220), SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS);
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    EQUAL(set_records(upstream, &records), 0);
    /* The same number with the out bit, without the in bit, of another type or vendor. */
    static const DWORD others[] = {0xD80000DC, 0xD80000DD, 0xD80000DE, 0x580000DC, 0x180000DC, 0x880000DC, 0x800000DC,
                                   0x900000DC, 0x980100DC, 0x980001DC, 0x000000DC, 0xDC, 220};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        EQUAL(plain(connection.accepted, others[i]), SOCKET_ERROR);
        CHECK(WSAGetLastError() == WSAEINVAL || WSAGetLastError() == WSAEOPNOTSUPP);
    }
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

static void statement_94_a_code_above_has_no_effect(void)
{
    static const DWORD others[] = {0x980000DF, 0x980000DB, 0x980000E0, 0xD80000DF, 0, 0xFFFFFFFF};
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    SOCKET upstream = tcp();
    EQUAL(set_records(upstream, &records), 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        unsigned char input[240], output[1024];
        DWORD count = 0;
        check_fill(output, sizeof output);
        check_fill(input, sizeof input);
        EQUAL(WSAIoctl(upstream, others[i], input, sizeof input, output, sizeof output, &count, NULL, NULL),
              SOCKET_ERROR);
        CHECK(WSAGetLastError() == WSAEINVAL || WSAGetLastError() == WSAEOPNOTSUPP);
        UNTOUCHED(output, sizeof output);
        UNTOUCHED(input, sizeof input);
        struct blob after = records_of(upstream);
        EQUAL(after.size, records.size);
        SAME(after.bytes, records.bytes, after.size);
    }
    EQUAL(closesocket(upstream), 0);
    close_both(connection);
    scene_end();
}

static void statement_95_before_startup(void)
{
    unsigned char input[240] = {0};
    DWORD count = 0;
    int socket_of_libc = socket(AF_INET, SOCK_STREAM, 0);
    SOCKET socket = (SOCKET)socket_of_libc;
    FAILS(plain(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS), WSANOTINITIALISED);
    FAILS(plain(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT), WSANOTINITIALISED);
    FAILS(WSAIoctl(socket, SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, input, sizeof input, NULL, 0, &count, NULL, NULL),
          WSANOTINITIALISED);
    EQUAL(WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0, 0), INVALID_SOCKET);
    EQUAL(WSAGetLastError(), WSANOTINITIALISED);
    FAILS(WSACleanup(), WSANOTINITIALISED);
    FAILS(closesocket(socket), WSANOTINITIALISED);
    /* Once more after the last WSACleanup; startups are counted. */
    WSADATA data;
    EQUAL(WSAStartup(MAKEWORD(2, 2), &data), 0);
    EQUAL(WSAStartup(MAKEWORD(2, 2), &data), 0);
    EQUAL(WSACleanup(), 0);
    EQUAL(plain(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS), SOCKET_ERROR);
    CHECK(WSAGetLastError() != WSANOTINITIALISED);
    EQUAL(WSACleanup(), 0);
    FAILS(plain(socket, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS), WSANOTINITIALISED);
    FAILS(WSACleanup(), WSANOTINITIALISED);
    close(socket_of_libc);
}

static void statement_96_every_error_has_its_number(void)
{
    EQUAL(SOCKET_ERROR, -1);
    EQUAL(ERROR_INSUFFICIENT_BUFFER, 122);
    EQUAL(WSA_INVALID_HANDLE, 6);
    EQUAL(WSA_INVALID_PARAMETER, 87);
    EQUAL(WSA_OPERATION_ABORTED, 995);
    EQUAL(WSA_IO_INCOMPLETE, 996);
    EQUAL(WSA_IO_PENDING, 997);
    EQUAL(ERROR_NOT_FOUND, 1168);
    EQUAL(WSAEINTR, 10004);
    EQUAL(WSAEACCES, 10013);
    EQUAL(WSAEFAULT, 10014);
    EQUAL(WSAEINVAL, 10022);
    EQUAL(WSAEWOULDBLOCK, 10035);
    EQUAL(WSAEINPROGRESS, 10036);
    EQUAL(WSAENOTSOCK, 10038);
    EQUAL(WSAEMSGSIZE, 10040);
    EQUAL(WSAENOPROTOOPT, 10042);
    EQUAL(WSAEOPNOTSUPP, 10045);
    EQUAL(WSAENETDOWN, 10050);
    EQUAL(WSAENOBUFS, 10055);
    EQUAL(WSAENOTCONN, 10057);
    EQUAL(WSAECONNREFUSED, 10061);
    EQUAL(WSANOTINITIALISED, 10093);
    EQUAL(IP_WFP_REDIRECT_RECORDS, 60);
    EQUAL(IP_WFP_REDIRECT_CONTEXT, 70);
    EQUAL(IPV6_WFP_REDIRECT_RECORDS, 60);
    EQUAL(IPV6_WFP_REDIRECT_CONTEXT, 70);
}

static void *other_thread(void *unused)
{
    (void)unused;
    EQUAL(WSAGetLastError(), 0);
    WSASetLastError(WSAENOBUFS);
    EQUAL(WSAGetLastError(), WSAENOBUFS);
    return NULL;
}

static void statement_97_the_error_stays_readable(void)
{
    pthread_t thread;
    scene_begin();
    EQUAL(plain(INVALID_SOCKET, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS), -1);
    EQUAL(WSAGetLastError(), WSAENOTSOCK);
    EQUAL(WSAGetLastError(), WSAENOTSOCK);
    EQUAL(pthread_create(&thread, NULL, other_thread, NULL), 0);
    EQUAL(pthread_join(thread, NULL), 0);
    EQUAL(WSAGetLastError(), WSAENOTSOCK);
    WSASetLastError(0);
    EQUAL(WSAGetLastError(), 0);
    scene_end();
}

static void statement_98_success_says_nothing_of_the_last_error(void)
{
    scene_begin();
    struct redirected connection = redirected();
    unsigned char buffer[1024];
    DWORD count = 0;
    WSASetLastError(WSAENOBUFS);
    EQUAL(WSAIoctl(connection.accepted, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, NULL, 0, buffer, sizeof buffer,
                   &count, NULL, NULL),
          0);
    CHECK(WSAGetLastError() == WSAENOBUFS || WSAGetLastError() == 0);
    close_both(connection);
    scene_end();
}

/* What a program relies on that was written for 64-bit Windows. */
static void the_types_have_their_documented_sizes(void)
{
    EQUAL(sizeof(DWORD), 4);
    EQUAL(sizeof(ULONG), 4);
    EQUAL(sizeof(WORD), 2);
    EQUAL(sizeof(BOOL), 4);
    EQUAL(sizeof(INT), 4);
    EQUAL(sizeof(HANDLE), sizeof(void *));
    EQUAL(sizeof(WSAEVENT), sizeof(void *));
    EQUAL(sizeof(ULONG_PTR), sizeof(void *));
    CHECK((DWORD)-1 > 0 && (SOCKET)-1 == INVALID_SOCKET);
    EQUAL(sizeof(WSABUF), 2 * sizeof(void *));
    EQUAL(offsetof(WSABUF, len), 0);
    EQUAL(offsetof(WSABUF, buf), sizeof(void *));
    EQUAL(sizeof(WSAOVERLAPPED), 3 * sizeof(void *) + 8);
    EQUAL(offsetof(WSAOVERLAPPED, hEvent), 2 * sizeof(void *) + 8);
    EQUAL(sizeof(WSATHREADID), 2 * sizeof(void *));
#if UINTPTR_MAX > UINT32_MAX
    EQUAL(offsetof(WSAMSG, Control), 32);
    EQUAL(offsetof(WSAMSG, dwFlags), 48);
    EQUAL(sizeof(WSAMSG), 56);
    EQUAL(sizeof(WSACMSGHDR), 16);
#endif
    EQUAL(WSA_CMSG_LEN(0) % sizeof(void *), 0);
}

static void the_version_is_negotiated(void)
{
    WSADATA data = {0};
    EQUAL(WSAStartup(MAKEWORD(2, 2), &data), 0);
    EQUAL(data.wVersion, MAKEWORD(2, 2));
    EQUAL(data.wHighVersion, MAKEWORD(2, 2));
    CHECK(data.szDescription[0] != 0);
    EQUAL(WSACleanup(), 0);
    EQUAL(WSAStartup(MAKEWORD(0, 0), &data), WSAVERNOTSUPPORTED);
    EQUAL(WSAStartup(MAKEWORD(9, 9), &data), 0);
    EQUAL(data.wVersion, MAKEWORD(2, 2));
    EQUAL(WSACleanup(), 0);
    EQUAL(WSAStartup(MAKEWORD(2, 2), NULL), WSAEFAULT);
    EQUAL(WSAStartup(MAKEWORD(2, 2), NOWHERE), WSAEFAULT);
    FAILS(WSACleanup(), WSANOTINITIALISED);
}

TESTS(TEST(acme, statement_93_the_three_codes_exactly), TEST(acme, statement_94_a_code_above_has_no_effect),
      TEST(none, statement_95_before_startup), TEST(none, statement_96_every_error_has_its_number),
      TEST(none, statement_97_the_error_stays_readable), TEST(acme, statement_98_success_says_nothing_of_the_last_error),
      TEST(none, the_types_have_their_documented_sizes), TEST(none, the_version_is_negotiated))
