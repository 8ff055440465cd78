/* A program that keeps the system's own socket functions, and uses the documented calls beside them. */
#define HOPTRAIL_WINSOCK_NO_NAMES
#include "scene.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

/* The system's setsockopt means something else by the same numbers. */
static void the_systems_options_are_untouched(void)
{
    BOOL on = TRUE, value = FALSE;
    INT size = sizeof value;
    scene_begin();
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), theirs = 0;
    socklen_t length = sizeof theirs;
    EQUAL(hoptrail_setsockopt((SOCKET)fd, IPPROTO_IPV6, IPV6_WFP_REDIRECT_RECORDS, &on, sizeof on), 0);
    EQUAL(getsockopt(fd, IPPROTO_IPV6, IPV6_RECVPATHMTU, &theirs, &length), 0);
    EQUAL(theirs, 0);
    theirs = 1;
    EQUAL(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPATHMTU, &theirs, sizeof theirs), 0);
    on = FALSE;
    EQUAL(hoptrail_setsockopt((SOCKET)fd, IPPROTO_IPV6, IPV6_WFP_REDIRECT_RECORDS, &on, sizeof on), 0);
    EQUAL(hoptrail_getsockopt((SOCKET)fd, IPPROTO_IPV6, IPV6_WFP_REDIRECT_RECORDS, &value, &size), 0);
    EQUAL(value, FALSE);
    EQUAL(getsockopt(fd, IPPROTO_IPV6, IPV6_RECVPATHMTU, &theirs, &length), 0);
    EQUAL(theirs, 1);
    close(fd);
    EQUAL(setsockopt(-1, SOL_SOCKET, SO_REUSEADDR, &theirs, sizeof theirs), -1);
    EQUAL(errno, EBADF);
    scene_end();
}

/* accept(2) and close(2) alone: the queries work on any descriptor. */
static void the_systems_accept_and_close(void)
{
    scene_begin();
    struct sockaddr_in at = listener_of("acme");
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    EQUAL(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    EQUAL(listen(listener, 8), 0);
    int client = dial("app", address("192.0.2.10", 80));
    be("acme");
    int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct blob records = records_of((SOCKET)accepted);
    int upstream = socket(AF_INET, SOCK_STREAM, 0);
    EQUAL(set_records((SOCKET)upstream, &records), 0);
    close(upstream);
    close(accepted);
    close(client);
    close(listener);
    scene_end();
}

/* A child has the sockets, and can start calls of its own. */
static void a_child_of_fork(void)
{
    scene_begin();
    struct redirected connection = redirected();
    struct blob records = records_of(connection.accepted);
    WSAEVENT event = WSACreateEvent();
    pid_t child = fork();
    if (child == 0) {
        struct blob again = records_of(connection.accepted);
        EQUAL(again.size, records.size);
        REFUSED(WSASetEvent(event), WSA_INVALID_HANDLE);
        WSAOVERLAPPED operation = {.hEvent = WSACreateEvent()};
        DWORD length = 0, flags;
        int result = WSAIoctl(connection.accepted, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, NULL, 0, again.bytes,
                              sizeof again.bytes, &again.size, &operation, NULL);
        CHECK(result == 0 || WSAGetLastError() == WSA_IO_PENDING);
        CHECK(WSAGetOverlappedResult(connection.accepted, &operation, &length, TRUE, &flags));
        EQUAL(length, records.size);
        _exit(0);
    }
    int status = -1;
    EQUAL(waitpid(child, &status, 0), child);
    EQUAL(status, 0);
    CHECK(WSACloseEvent(event));
    close_both(connection);
    scene_end();
}

TESTS(TEST(none, the_systems_options_are_untouched), TEST(acme, the_systems_accept_and_close),
      TEST(acme, a_child_of_fork))
