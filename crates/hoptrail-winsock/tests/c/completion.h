/* Overlapped queries, and how to keep one pending. */
#ifndef COMPLETION_H
#define COMPLETION_H

#include "scene.h"

#include <pthread.h>

/* A query of records that is pending: on a TCP socket whose connect is not answered yet, or on a connected UDP socket
 * whose flow has not begun. */
struct pending {
    struct unanswered connecting;
    int client; /* of the flow */
    WSAOVERLAPPED operation;
    unsigned char buffer[1024];
    DWORD count;
};

/* What the routines that ran last were given. */
struct routine {
    int runs;
    DWORD error, transferred, flags;
    LPWSAOVERLAPPED operation;
    pthread_t thread;
};
extern struct routine last;

/* A completion routine that fills `last`. */
void CALLBACK remember(DWORD error, DWORD transferred, LPWSAOVERLAPPED operation, DWORD flags);

/* Begins it, with an event unless there is a routine; must be pending. */
void pend(struct pending *query, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
/* The same on a socket of one's own. */
void pend_on(struct pending *query, SOCKET socket, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
/* The connect is answered: the query ends with WSAEINVAL, since nobody has redirected the connection. */
void settle(struct pending *query);
/* Closes what is open, after the query has ended. */
void forget(struct pending *query);
/* As `pend`, of a flow that has not begun. */
void pend_flow(struct pending *query, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
/* Its first datagram comes: the query succeeds. */
void begin_flow(struct pending *query);
/* As `forget`; the query's answer is the records of one hop. */
void forget_flow(struct pending *query);
/* Its sockets: connected to the application's, beside the listener for all others. */
SOCKET flow_sockets(struct pending *query);
void close_flow(struct pending *query);

/* An overlapped query of the records, whatever comes of it. */
int overlapped_query(SOCKET socket, void *buffer, DWORD room, DWORD *count, WSAOVERLAPPED *operation,
                     LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
/* Waits for an operation with an event; the error it ended with, or 0 and the length. */
int result_of(SOCKET socket, WSAOVERLAPPED *operation, DWORD *length);
/* Whether the event is signalled. */
int is_signalled(WSAEVENT event);
/* Waits for a thread, which must be able to end. */
void join(pthread_t thread);
pthread_t start_thread(void *(*run)(void *), void *argument);

#endif
