/* The scene of a test, which the harness has set: a network namespace, a control group for each who takes part, the
 * engine above them.
 *
 *   none   nothing, and no privileges: the call's own rules
 *   acme   the provider acme redirects everything; its context ends in ACME_CONTEXT
 *   bare   the same without a context of its own
 *   two    acme, and then beta, whose context ends in BETA_CONTEXT
 *
 * One process plays everybody in turn: a socket belongs for good to the group of who made it, and who calls is judged
 * at the call. */
#ifndef SCENE_H
#define SCENE_H

#include "check.h"

#include <hoptrail_winsock.h>

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

/* With bytes that text would not have. */
#define ACME_CONTEXT "acme\0\xff\1"
#define BETA_CONTEXT "beta\0\xfe\2!"
enum { ACME_CONTEXT_SIZE = 7, BETA_CONTEXT_SIZE = 8 };

/* The layout of docs/abi.md, of which these tests look at little: records are opaque to a proxy. */
enum {
    RECORDS_HEADER = 152,
    RECORDS_HOP = 88,
    RECORDS_HOPS_AT = 40,
    RECORDS_PID_AT = 48,
    RECORDS_PORT_AT = 128,
    CONTEXT_PID_AT = 16,
    CONTEXT_DESTINATION_AT = 56,
    CONTEXT_PORT_AT = 88,
    CONTEXT_PATH_BYTES_AT = 92,
    CONTEXT_PROVIDER_BYTES_AT = 94,
    CONTEXT_HEADER = 112,
};

/* A connection of the application that was redirected, both its ends. */
struct redirected {
    int client;
    SOCKET accepted;
};

/* What a query gave. */
struct blob {
    unsigned char bytes[4096];
    DWORD size;
};

/* Starts Winsock; in a lab the caller is acme's proxy then. */
void scene_begin(void);
void scene_end(void);
/* Who acts from now on: "app", "acme", "beta", "origin" or "other". */
void be(const char *who);
/* The number of an environment variable that the harness has set. */
long setting(const char *name);
/* Lets the harness do something, see kernel_c.rs; returns when it is done. */
void harness(const char *order);

struct sockaddr_in address(const char *ip, int port);
struct sockaddr_in6 address6(const char *ip, int port);
/* Where the provider listens. */
struct sockaddr_in listener_of(const char *provider);

/* A TCP socket as Windows programs make it, overlapped or not. */
SOCKET tcp(void);
SOCKET plain_tcp(void);
/* A listener of `who`. */
SOCKET listening(const char *who, struct sockaddr_in at);
/* Acme's listener. */
SOCKET acme_listens(void);
/* The application's socket, connected to 192.0.2.10 at that port, and the accepted one. */
struct redirected redirect(SOCKET listener, int port);
/* Both at once, the listener closed again. */
struct redirected redirected(void);
/* A connected pair of sockets that nobody has redirected: the accepted one, and the other in `client`. */
SOCKET direct(int *client);
void close_both(struct redirected connection);
/* As `who`, connects a socket to a remote; -1 when refused. */
int dial(const char *who, struct sockaddr_in to);
/* A socket that is connecting and gets no answer until `answer`: the listener's queue is full. */
struct unanswered {
    SOCKET socket;
    int listener, filler;
};
struct unanswered unanswered(SOCKET socket);
void answer(struct unanswered *connecting);

/* The two queries, synchronous, into 4096 bytes; they must succeed. */
struct blob records_of(SOCKET socket);
struct blob context_of(SOCKET socket);
/* The bytes of the context that are the provider's own. */
const unsigned char *own_bytes(const struct blob *context, size_t *size);
/* SET, synchronous: as WSAIoctl. */
int set_records(SOCKET socket, const struct blob *records);

/* Sends and receives, all of it. */
void say(int socket, const char *text);
void hear(int socket, const char *text);

/* A page that nobody can read, one that nobody can write to, and an address that is none. */
void *no_access(void);
void *read_only(void);
/* That many bytes, behind which nothing is mapped. */
void *last_bytes(size_t size);
#define NOWHERE ((void *)0x10)

#endif
