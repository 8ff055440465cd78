/* Datagrams with control messages, as WSARecvMsg and WSASendMsg take them. */
#ifndef DATAGRAM_H
#define DATAGRAM_H

#include "scene.h"

/* What one WSARecvMsg gave. */
struct received {
    char text[64];
    DWORD length;
    struct sockaddr_in6 from;
    INT from_size;
    DWORD flags;
    /* The control messages by type, if there are any. */
    int messages, level;
    struct blob records, context;
};

SOCKET udp(int family);
/* Acme's socket at its IPv4 listener, with the options switched on that are named. */
SOCKET acme_udp(int records, int context);
void switch_on(SOCKET socket, int level, int option);
/* Receives with that much room for control messages. */
struct received receive(SOCKET socket, size_t room);
/* The application's socket. */
int app_udp(int family);
void send_from(int socket, const char *text, const void *to, socklen_t size);
/* WSASendMsg with the records as a control message of that level, if there are any. */
int send_records(SOCKET socket, const char *text, void *to, INT size, int level, const struct blob *records);

#endif
