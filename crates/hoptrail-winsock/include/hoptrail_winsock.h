/*
 * hoptrail_winsock.h - the documented Winsock calls for redirect records, on Linux.
 *
 * Generated; docs/winsock.md says from what, and how.
 *
 * A redirect service written against the documentation of SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS,
 * SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT and SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS includes this
 * file in place of winsock2.h, ws2tcpip.h, mstcpip.h, mswsock.h and ws2spi.h, and is linked with
 * -lhoptrail_winsock. docs/winsock.md says more.
 *
 * Differences from Windows, each with its reason
 *
 *  1. A SOCKET is the number of a descriptor of the process, so every function of the system takes it
 *     too, poll and epoll included. Its type is an unsigned integer as wide as a pointer, as on
 *     Windows, and INVALID_SOCKET is what accept(2) or socket(2) give for a failure.
 *  2. DWORD and ULONG are 32 bits wide, as on Windows; `unsigned long` is not, on Linux.
 *  3. The Berkeley names (socket, bind, listen, accept, connect, shutdown, send, sendto, recv, recvfrom,
 *     getsockname, getpeername, setsockopt, getsockopt) are the system's functions under macros of
 *     their names, which put errors where WSAGetLastError finds them. errno is set as well.
 *     With HOPTRAIL_WINSOCK_NO_NAMES defined, and in C++ unless HOPTRAIL_WINSOCK_NAMES is defined, the
 *     names are the system's own; then call hoptrail_setsockopt for the four switches, since their
 *     numbers mean other things to Linux (41/60 is IPV6_RECVPATHMTU), and look at errno.
 *     Buffers and option values are void pointers, not char: every Windows call compiles.
 *  4. Names of flags and families (MSG_CTRUNC, MSG_PEEK, AF_INET6, SO_REUSEADDR) have the system's
 *     numbers. select is the system's: its first argument counts, and its error is in errno.
 *     IOC_IN, IOC_OUT and IOC_INOUT are those of <sys/ioctl.h>, and have other numbers: write
 *     _WSAIOW(IOC_VENDOR, n).
 *  5. Sockets of socket(2), accept4(2) and every other function of the system are overlapped. Only
 *     WSASocket makes one that is not, and accept has its listener's attribute.
 *  6. Windows asks for administrator rights to set records; here the process must be a member of the
 *     provider that made the last hop. WSAEACCES says that it is not.
 *  7. WSAENETDOWN: no engine acts on this socket. It is not the same as "no records" (WSAEINVAL, byte
 *     count 0, as Windows gives it), and must not be taken for permission to dial.
 *  8. Of the contradictory sentences about sizes the documented numbers are kept: 0 bytes ask for the
 *     size (ERROR_INSUFFICIENT_BUFFER and the size), 1 to 3 bytes are WSAEINVAL with byte count 0, more
 *     but too few are ERROR_INSUFFICIENT_BUFFER and the size. A SET reports 0 bytes.
 *  9. What pends (WSA_IO_PENDING): a query of a TCP socket whose connect is under way, and an overlapped
 *     query of a connected UDP socket whose peer has not sent anything; WSARecvMsg without a datagram;
 *     WSASendMsg without room. A SET never pends. Synchronously, the first waits if the socket is
 *     blocking, and is WSAEWOULDBLOCK if not; the second is WSAEINVAL at once.
 * 10. Errors are told in this order: WSANOTINITIALISED; WSAENOTSOCK; WSAEOPNOTSUPP, WSAENOPROTOOPT or
 *     WSAENETDOWN for a socket without redirects; arguments; WSAEINPROGRESS; WSAENOTCONN; WSAEINVAL for
 *     no records. A code without any of the three direction bits is WSAEINVAL, another unknown one is
 *     WSAEOPNOTSUPP.
 * 11. WSAEINPROGRESS: a synchronous WSAIoctl, WSPIoctl, WSARecvMsg or WSASendMsg was made from within a
 *     completion routine or another APC of the same thread. Overlapped ones are allowed there.
 * 12. WSAEINTR: a signal handler ran in the blocked thread, or WSACancelBlockingCall was called in it
 *     (as it may be from a signal handler), or another thread closed the socket. Windows has no
 *     signals, and its WSACancelBlockingCall is for version 1.1 only.
 * 13. Pointers are given to the kernel, so a wrong one is WSAEFAULT and nothing crashes. What the kernel
 *     cannot know is that a pointer leads to memory which is not meant: see below.
 * 14. WSAGetOverlappedResult with fWait waits for the operation itself, also without an event. For an
 *     operation that closesocket ended it gives WSA_OPERATION_ABORTED, where Windows has only
 *     WSAENOTSOCK left.
 * 15. WSAPROTOCOL_INFO, groups, and names of events are not used; a parameter for one must be NULL or 0
 *     (groups are ignored).
 * 16. WSACleanup leaves sockets open: they are the process' descriptors.
 * 17. A thread's end cancels what it has pending, also on sockets with a completion port.
 * 18. After fork(2) the child has the sockets, their attributes and switches, but no pending operation,
 *     no handle, and no queued routine. Windows has no fork.
 * 19. On a dual-stack socket the control message of an IPv4-mapped peer has level IPPROTO_IP if that
 *     switch is on, else IPPROTO_IPV6. WSASendMsg takes both.
 * 20. A SET also binds the socket to the interface to which the application had bound its own, unless it
 *     is bound already: the connection goes on by the same one.
 *
 * Misuse, and what comes of it
 *
 *  - Closing twice, a closed handle, a handle of another kind: WSAENOTSOCK, or WSA_INVALID_HANDLE;
 *    handles are never given twice. A socket's number is given again, as every descriptor's is: closing
 *    it twice may close another thread's new socket, which nothing can tell.
 *  - A socket closed by close(2): its pending operations end with WSA_OPERATION_ABORTED, up to about a
 *    second later.
 *  - All descriptors closed at once, as by closefrom(3): two of the library's own may be among them.
 *    What pends ends with WSA_OPERATION_ABORTED, and nothing can pend afterwards (WSAENOTSOCK). A child
 *    of fork has its own, so a service that becomes a daemon is not concerned.
 *  - An OVERLAPPED that is used for two operations at once: the second call fails with WSAEINVAL.
 *  - An OVERLAPPED or buffer that is freed while its operation is pending: where the memory is gone, the
 *    result is lost; where it is in use for something else, that is overwritten. Not told.
 *  - A completion routine that is not a function of that type: called all the same. Not told, unless
 *    there is no memory at all (WSAEFAULT).
 *  - A completion routine that does not return (longjmp, a C++ exception, pthread_exit): the process
 *    is ended, or the thread never leaves its callback.
 *  - WSAGetOverlappedResult with fWait for an operation with a completion routine, from the thread that
 *    would have to run the routine: it waits for the operation, and the routine runs in a later
 *    alertable wait. The documentation forbids it.
 *  - An OVERLAPPED that was never used: WSAGetOverlappedResult reads it as it is.
 */
#ifndef HOPTRAIL_WINSOCK_H
#define HOPTRAIL_WINSOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Calling conventions and annotations that have no meaning here. */
#ifndef WSAAPI
#define WSAAPI
#endif
#ifndef WSPAPI
#define WSPAPI
#endif
#ifndef WINAPI
#define WINAPI
#endif
#ifndef CALLBACK
#define CALLBACK
#endif
#ifndef PASCAL
#define PASCAL
#endif
#ifndef FAR
#define FAR
#endif

typedef int BOOL;
typedef int INT;
typedef char CHAR;
typedef uint8_t BYTE;
typedef uint16_t WORD;
typedef uint16_t USHORT;
typedef int32_t LONG;
typedef uint32_t DWORD;
typedef uint32_t ULONG;
typedef uint32_t UINT;
typedef size_t SIZE_T;
typedef uintptr_t UINT_PTR;
typedef uintptr_t ULONG_PTR;
typedef uintptr_t DWORD_PTR;
typedef void *PVOID;
typedef void *LPVOID;
typedef const void *LPCVOID;
typedef void *HANDLE;
typedef const HANDLE *LPCHANDLE;
typedef BOOL *LPBOOL;
typedef INT *LPINT;
typedef DWORD *LPDWORD;
typedef unsigned long *LPULONG;
typedef ULONG_PTR *PULONG_PTR;
typedef const char *LPCSTR;
typedef const uint16_t *LPCWSTR;
typedef void *LPSECURITY_ATTRIBUTES;

#ifndef FALSE
#define FALSE 0
#endif
#ifndef TRUE
#define TRUE 1
#endif
#ifndef MAKEWORD
#define MAKEWORD(low, high) ((WORD)(((low) & 0xff) | (((high) & 0xff) << 8)))
#define LOBYTE(w) ((BYTE)((w) & 0xff))
#define HIBYTE(w) ((BYTE)(((w) >> 8) & 0xff))
#endif

typedef UINT_PTR SOCKET;
typedef UINT GROUP;
typedef HANDLE WSAEVENT;
typedef WSAEVENT *LPWSAEVENT;
typedef struct sockaddr SOCKADDR, *PSOCKADDR, *LPSOCKADDR;
typedef const struct sockaddr *LPCSOCKADDR;
typedef struct sockaddr_in SOCKADDR_IN, *PSOCKADDR_IN, *LPSOCKADDR_IN;
typedef struct sockaddr_in6 SOCKADDR_IN6, *PSOCKADDR_IN6, *LPSOCKADDR_IN6;
typedef struct sockaddr_storage SOCKADDR_STORAGE, *PSOCKADDR_STORAGE, *LPSOCKADDR_STORAGE;

#define INVALID_SOCKET ((SOCKET)(~(SOCKET)0))
#define SOCKET_ERROR (-1)
#define INVALID_HANDLE_VALUE ((HANDLE)(~(uintptr_t)0))
#define WSA_INVALID_EVENT ((WSAEVENT)0)
#define SD_RECEIVE SHUT_RD
#define SD_SEND SHUT_WR
#define SD_BOTH SHUT_RDWR

/* Control codes. */
#define SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS 0x980000DC
#define SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT 0x980000DD
#define SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS 0x980000DE
#define SIO_FLUSH 0x28000004
#define SIO_GET_EXTENSION_FUNCTION_POINTER 0xC8000006
#define IOC_VOID 0x20000000
#define IOC_WS2 0x08000000
#define IOC_VENDOR 0x18000000
#define _WSAIO(x, y) (0x20000000u | (x) | (y))
#define _WSAIOR(x, y) (0x40000000u | (x) | (y))
#define _WSAIOW(x, y) (0x80000000u | (x) | (y))
#define _WSAIORW(x, y) (0xC0000000u | (x) | (y))

#ifndef FIONBIO
#define FIONBIO 0x5421
#endif

/* Switches of setsockopt, and types of control messages. */
#define IP_WFP_REDIRECT_RECORDS 60
#define IP_WFP_REDIRECT_CONTEXT 70
#define IPV6_WFP_REDIRECT_RECORDS 60
#define IPV6_WFP_REDIRECT_CONTEXT 70

/* Errors. */
#define ERROR_SUCCESS 0
#define ERROR_INVALID_HANDLE 6
#define WSA_INVALID_HANDLE 6
#define WSA_NOT_ENOUGH_MEMORY 8
#define ERROR_INVALID_PARAMETER 87
#define WSA_INVALID_PARAMETER 87
#define ERROR_INSUFFICIENT_BUFFER 122
#define ERROR_ABANDONED_WAIT_0 735
#define WSA_OPERATION_ABORTED 995
#define ERROR_OPERATION_ABORTED 995
#define WSA_IO_INCOMPLETE 996
#define ERROR_IO_INCOMPLETE 996
#define WSA_IO_PENDING 997
#define ERROR_IO_PENDING 997
#define ERROR_NOT_FOUND 1168
#define WSAEINTR 10004
#define WSAEBADF 10009
#define WSAEACCES 10013
#define WSAEFAULT 10014
#define WSAEINVAL 10022
#define WSAEMFILE 10024
#define WSAEWOULDBLOCK 10035
#define WSAEINPROGRESS 10036
#define WSAEALREADY 10037
#define WSAENOTSOCK 10038
#define WSAEDESTADDRREQ 10039
#define WSAEMSGSIZE 10040
#define WSAEPROTOTYPE 10041
#define WSAENOPROTOOPT 10042
#define WSAEPROTONOSUPPORT 10043
#define WSAESOCKTNOSUPPORT 10044
#define WSAEOPNOTSUPP 10045
#define WSAEAFNOSUPPORT 10047
#define WSAEADDRINUSE 10048
#define WSAEADDRNOTAVAIL 10049
#define WSAENETDOWN 10050
#define WSAENETUNREACH 10051
#define WSAENETRESET 10052
#define WSAECONNABORTED 10053
#define WSAECONNRESET 10054
#define WSAENOBUFS 10055
#define WSAEISCONN 10056
#define WSAENOTCONN 10057
#define WSAESHUTDOWN 10058
#define WSAETIMEDOUT 10060
#define WSAECONNREFUSED 10061
#define WSAELOOP 10062
#define WSAEHOSTDOWN 10064
#define WSAEHOSTUNREACH 10065
#define WSASYSNOTREADY 10091
#define WSAVERNOTSUPPORTED 10092
#define WSANOTINITIALISED 10093
#define WSASYSCALLFAILURE 10107

/* Waits and flags. */
#define WSA_WAIT_EVENT_0 0
#define WAIT_OBJECT_0 0
#define WSA_WAIT_IO_COMPLETION 0xC0
#define WAIT_IO_COMPLETION 0xC0
#define WSA_WAIT_TIMEOUT 258
#define WAIT_TIMEOUT 258
#define WSA_WAIT_FAILED 0xFFFFFFFF
#define WAIT_FAILED 0xFFFFFFFF
#define WSA_INFINITE 0xFFFFFFFF
#define INFINITE 0xFFFFFFFF
#define WSA_MAXIMUM_WAIT_EVENTS 64
#define MAXIMUM_WAIT_OBJECTS 64
#define WSA_FLAG_OVERLAPPED 0x01
#define WSA_FLAG_NO_HANDLE_INHERIT 0x80
#define STATUS_PENDING 0x103

#define WSADESCRIPTION_LEN 256
#define WSASYS_STATUS_LEN 128

typedef struct WSAData {
    WORD wVersion;
    WORD wHighVersion;
    unsigned short iMaxSockets;
    unsigned short iMaxUdpDg;
    char *lpVendorInfo;
    char szDescription[WSADESCRIPTION_LEN + 1];
    char szSystemStatus[WSASYS_STATUS_LEN + 1];
} WSADATA, *LPWSADATA;

typedef struct _WSABUF {
    ULONG len;
    CHAR *buf;
} WSABUF, *LPWSABUF;

typedef struct _WSAMSG {
    LPSOCKADDR name;
    INT namelen;
    LPWSABUF lpBuffers;
    DWORD dwBufferCount;
    WSABUF Control;
    DWORD dwFlags;
} WSAMSG, *PWSAMSG, *LPWSAMSG;

typedef struct _WSACMSGHDR {
    SIZE_T cmsg_len;
    INT cmsg_level;
    INT cmsg_type;
    /* the data follow */
} WSACMSGHDR, *PWSACMSGHDR, *LPWSACMSGHDR;

#define WSA_CMSGHDR_ALIGN(length) (((length) + 7u) & ~(SIZE_T)7)
#define WSA_CMSGDATA_ALIGN(length) WSA_CMSGHDR_ALIGN(length)
#define WSA_CMSG_LEN(length) (WSA_CMSGDATA_ALIGN(sizeof(WSACMSGHDR)) + (length))
#define WSA_CMSG_SPACE(length) \
    (WSA_CMSGDATA_ALIGN(sizeof(WSACMSGHDR)) + WSA_CMSGHDR_ALIGN(length))
#define WSA_CMSG_DATA(cmsg) ((unsigned char *)(cmsg) + WSA_CMSGDATA_ALIGN(sizeof(WSACMSGHDR)))
#define WSA_CMSG_FIRSTHDR(msg) \
    ((msg)->Control.len >= sizeof(WSACMSGHDR) ? (LPWSACMSGHDR)(void *)(msg)->Control.buf \
                                              : (LPWSACMSGHDR)0)
#define WSA_CMSG_NXTHDR(msg, cmsg) \
    ((cmsg) == (LPWSACMSGHDR)0 \
         ? WSA_CMSG_FIRSTHDR(msg) \
         : ((unsigned char *)(cmsg) + WSA_CMSGHDR_ALIGN((cmsg)->cmsg_len) + sizeof(WSACMSGHDR) > \
                    (unsigned char *)(msg)->Control.buf + (msg)->Control.len \
                ? (LPWSACMSGHDR)0 \
                : (LPWSACMSGHDR)(void *)((unsigned char *)(cmsg) + \
                                         WSA_CMSGHDR_ALIGN((cmsg)->cmsg_len))))

typedef struct _OVERLAPPED {
    ULONG_PTR Internal;
    ULONG_PTR InternalHigh;
    DWORD Offset;
    DWORD OffsetHigh;
    HANDLE hEvent;
} OVERLAPPED, *LPOVERLAPPED, WSAOVERLAPPED, *LPWSAOVERLAPPED;
typedef LPOVERLAPPED *LPLPOVERLAPPED;

#define HasOverlappedIoCompleted(overlapped) ((DWORD)(overlapped)->Internal != STATUS_PENDING)

typedef struct _WSATHREADID {
    HANDLE ThreadHandle;
    DWORD_PTR Reserved;
} WSATHREADID, *LPWSATHREADID;

#ifndef GUID_DEFINED
#define GUID_DEFINED
typedef struct _GUID {
    uint32_t Data1;
    uint16_t Data2;
    uint16_t Data3;
    uint8_t Data4[8];
} GUID;
#endif

/* Not used: pass NULL. */
typedef struct _WSAPROTOCOL_INFOA *LPWSAPROTOCOL_INFOA;
typedef struct _WSAPROTOCOL_INFOW *LPWSAPROTOCOL_INFOW;

typedef void(CALLBACK *LPWSAOVERLAPPED_COMPLETION_ROUTINE)(DWORD dwError, DWORD cbTransferred,
                                                           LPWSAOVERLAPPED lpOverlapped,
                                                           DWORD dwFlags);
typedef void(CALLBACK *LPWSAUSERAPC)(DWORD_PTR dwContext);

#define WSAID_WSARECVMSG \
    { 0xf689d7c8, 0x6f1f, 0x436b, { 0x8a, 0x53, 0xe5, 0x4f, 0xe3, 0x51, 0xc3, 0x22 } }
#define WSAID_WSASENDMSG \
    { 0xa441e712, 0x754f, 0x43ca, { 0x84, 0xa7, 0x0d, 0xee, 0x44, 0xcf, 0x60, 0x6d } }
typedef INT(PASCAL *LPFN_WSARECVMSG)(SOCKET s, LPWSAMSG lpMsg, LPDWORD lpdwNumberOfBytesRecvd,
                                     LPWSAOVERLAPPED lpOverlapped,
                                     LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine);
typedef INT(PASCAL *LPFN_WSASENDMSG)(SOCKET s, LPWSAMSG lpMsg, DWORD dwFlags,
                                     LPDWORD lpNumberOfBytesSent, LPWSAOVERLAPPED lpOverlapped,
                                     LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine);

/* What the library was built with. */
#if defined(__cplusplus) && __cplusplus >= 201103L
#define HOPTRAIL_WINSOCK_ASSERT(what) static_assert(what, #what)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define HOPTRAIL_WINSOCK_ASSERT(what) _Static_assert(what, #what)
#else
#define HOPTRAIL_WINSOCK_ASSERT(what) struct hoptrail_winsock_assert
#endif
HOPTRAIL_WINSOCK_ASSERT(sizeof(SOCKET) == 8);
HOPTRAIL_WINSOCK_ASSERT(sizeof(DWORD) == 4);
HOPTRAIL_WINSOCK_ASSERT(sizeof(WSADATA) == 408);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSADATA, szSystemStatus) == 273);
HOPTRAIL_WINSOCK_ASSERT(sizeof(WSABUF) == 16);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSABUF, buf) == 8);
HOPTRAIL_WINSOCK_ASSERT(sizeof(WSAMSG) == 56);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSAMSG, namelen) == 8);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSAMSG, lpBuffers) == 16);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSAMSG, dwBufferCount) == 24);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSAMSG, Control) == 32);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSAMSG, dwFlags) == 48);
HOPTRAIL_WINSOCK_ASSERT(sizeof(WSACMSGHDR) == 16);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSACMSGHDR, cmsg_level) == 8);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSACMSGHDR, cmsg_type) == 12);
HOPTRAIL_WINSOCK_ASSERT(sizeof(WSAOVERLAPPED) == 32);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSAOVERLAPPED, InternalHigh) == 8);
HOPTRAIL_WINSOCK_ASSERT(offsetof(WSAOVERLAPPED, hEvent) == 24);
HOPTRAIL_WINSOCK_ASSERT(sizeof(WSATHREADID) == 16);
HOPTRAIL_WINSOCK_ASSERT(sizeof(GUID) == 16);

/* Begins to use the library: every other function but WSAGetLastError and its like fails with
 * WSANOTINITIALISED before. Returns the error itself: WSAVERNOTSUPPORTED, WSAEFAULT. */
INT WSAAPI WSAStartup(WORD wVersionRequested, LPWSADATA lpWSAData);

/* Ends what one WSAStartup began. The last one ends every pending operation without telling
 * anybody: no event is signalled, no routine is called, nothing is posted. Sockets stay open. */
INT WSAAPI WSACleanup(void);

/* Interrupts the blocking call of the calling thread, which then fails with WSAEINTR. For signal
 * handlers; fails with WSAEINVAL when the thread is not in a blocking call. */
INT WSAAPI WSACancelBlockingCall(void);

/* The calling thread's last error. A call that succeeds leaves it as it was. */
INT WSAAPI WSAGetLastError(void);

/* Sets the calling thread's last error. */
void WSAAPI WSASetLastError(INT iError);

/* As WSAGetLastError: Winsock and Win32 have the same last error. */
DWORD WSAAPI GetLastError(void);

/* As WSASetLastError. */
void WSAAPI SetLastError(DWORD dwErrCode);

/* Opens a socket: a descriptor of the process, which every function of the system takes. It is
 * overlapped if dwFlags has WSA_FLAG_OVERLAPPED. */
SOCKET WSAAPI WSASocketW(INT af, INT type, INT protocol, LPWSAPROTOCOL_INFOW lpProtocolInfo,
                         GROUP g, DWORD dwFlags);

/* As WSASocketW. */
SOCKET WSAAPI WSASocketA(INT af, INT type, INT protocol, LPWSAPROTOCOL_INFOA lpProtocolInfo,
                         GROUP g, DWORD dwFlags);

/* Closes a socket. What is pending on it ends with WSA_OPERATION_ABORTED, a call that blocks on it
 * with WSAEINTR. Closed by close(2) instead, pending operations end within about a second. */
INT WSAAPI closesocket(SOCKET s);

/* Non-blocking mode, by the code FIONBIO; other codes fail with WSAEINVAL. */
INT WSAAPI ioctlsocket(SOCKET s, LONG cmd, LPULONG argp);

/* Controls a socket. The codes are the three of connection redirection, SIO_FLUSH,
 * SIO_GET_EXTENSION_FUNCTION_POINTER for WSARecvMsg and WSASendMsg, and FIONBIO. */
INT WSAAPI WSAIoctl(SOCKET s, DWORD dwIoControlCode, LPVOID lpvInBuffer, DWORD cbInBuffer,
                    LPVOID lpvOutBuffer, DWORD cbOutBuffer, LPDWORD lpcbBytesReturned,
                    LPWSAOVERLAPPED lpOverlapped,
                    LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine);

/* The provider's entry: as WSAIoctl, with the error in *lpErrno. A completion routine runs in the
 * thread of *lpThreadId (WPUOpenCurrentThread); the structure is copied before the call returns. */
INT WSAAPI WSPIoctl(SOCKET s, DWORD dwIoControlCode, LPVOID lpvInBuffer, DWORD cbInBuffer,
                    LPVOID lpvOutBuffer, DWORD cbOutBuffer, LPDWORD lpcbBytesReturned,
                    LPWSAOVERLAPPED lpOverlapped,
                    LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine,
                    LPWSATHREADID lpThreadId, LPINT lpErrno);

/* Gives the result of an overlapped operation. FALSE with WSA_IO_INCOMPLETE while it is pending and
 * fWait is FALSE; FALSE with the operation's error when it failed. */
BOOL WSAAPI WSAGetOverlappedResult(SOCKET s, LPWSAOVERLAPPED lpOverlapped, LPDWORD lpcbTransfer,
                                   BOOL fWait, LPDWORD lpdwFlags);

/* As WSAGetOverlappedResult, without flags. */
BOOL WSAAPI GetOverlappedResult(HANDLE hFile, LPOVERLAPPED lpOverlapped,
                                LPDWORD lpNumberOfBytesTransferred, BOOL bWait);

/* Cancels the pending operation of lpOverlapped, or all of the socket when it is NULL. FALSE with
 * ERROR_NOT_FOUND when there is none. */
BOOL WSAAPI CancelIoEx(HANDLE hFile, LPOVERLAPPED lpOverlapped);

/* Cancels what the calling thread has pending on the socket. */
BOOL WSAAPI CancelIo(HANDLE hFile);

/* An event that is not signalled and stays signalled until it is reset. */
WSAEVENT WSAAPI WSACreateEvent(void);

/* Signals an event. */
BOOL WSAAPI WSASetEvent(WSAEVENT hEvent);

/* Makes an event not signalled. */
BOOL WSAAPI WSAResetEvent(WSAEVENT hEvent);

/* Closes an event. An operation that is to signal it still does. */
BOOL WSAAPI WSACloseEvent(WSAEVENT hEvent);

/* Waits for one event, or for all. With fAlertable, completion routines of the calling thread run
 * in it and end it with WSA_WAIT_IO_COMPLETION. */
DWORD WSAAPI WSAWaitForMultipleEvents(DWORD cEvents, LPCHANDLE lphEvents, BOOL fWaitAll,
                                      DWORD dwTimeout, BOOL fAlertable);

/* An event; its attributes and name are not used, so it cannot be shared by name. */
HANDLE WSAAPI CreateEventA(LPSECURITY_ATTRIBUTES lpEventAttributes, BOOL bManualReset,
                           BOOL bInitialState, LPCSTR lpName);

/* As CreateEventA. */
HANDLE WSAAPI CreateEventW(LPSECURITY_ATTRIBUTES lpEventAttributes, BOOL bManualReset,
                           BOOL bInitialState, LPCWSTR lpName);

/* As WSASetEvent, also before WSAStartup. */
BOOL WSAAPI SetEvent(HANDLE hEvent);

/* As WSAResetEvent, also before WSAStartup. */
BOOL WSAAPI ResetEvent(HANDLE hEvent);

/* As WSACloseEvent, also before WSAStartup. */
BOOL WSAAPI CloseEvent(HANDLE hEvent);

/* Closes an event, a completion port or a thread handle; not a socket: that is closesocket. */
BOOL WSAAPI CloseHandle(HANDLE hObject);

/* Waits for one event. */
DWORD WSAAPI WaitForSingleObject(HANDLE hHandle, DWORD dwMilliseconds);

/* Waits for one event, alertable. */
DWORD WSAAPI WaitForSingleObjectEx(HANDLE hHandle, DWORD dwMilliseconds, BOOL bAlertable);

/* Waits for one event, or for all. */
DWORD WSAAPI WaitForMultipleObjects(DWORD nCount, LPCHANDLE lpHandles, BOOL bWaitAll,
                                    DWORD dwMilliseconds);

/* Waits for one event, or for all, alertable. */
DWORD WSAAPI WaitForMultipleObjectsEx(DWORD nCount, LPCHANDLE lpHandles, BOOL bWaitAll,
                                      DWORD dwMilliseconds, BOOL bAlertable);

/* Waits for time to pass; alertable, completion routines of the calling thread end it. */
DWORD WSAAPI SleepEx(DWORD dwMilliseconds, BOOL bAlertable);

/* Makes a completion port (FileHandle INVALID_HANDLE_VALUE), or lets the overlapped operations of a
 * socket be posted to one, under CompletionKey; a socket stays with its first port. */
HANDLE WSAAPI CreateIoCompletionPort(HANDLE FileHandle, HANDLE ExistingCompletionPort,
                                     ULONG_PTR CompletionKey, DWORD NumberOfConcurrentThreads);

/* Takes the next packet. FALSE with *lpOverlapped not NULL: the packet of an operation that failed,
 * with its error; FALSE with NULL: there is no packet, WAIT_TIMEOUT or ERROR_ABANDONED_WAIT_0. */
BOOL WSAAPI GetQueuedCompletionStatus(HANDLE CompletionPort, LPDWORD lpNumberOfBytesTransferred,
                                      PULONG_PTR lpCompletionKey, LPLPOVERLAPPED lpOverlapped,
                                      DWORD dwMilliseconds);

/* Posts a packet by hand. */
BOOL WSAAPI PostQueuedCompletionStatus(HANDLE CompletionPort, DWORD dwNumberOfBytesTransferred,
                                       ULONG_PTR dwCompletionKey, LPOVERLAPPED lpOverlapped);

/* Receives a datagram with its control messages. With the switches of setsockopt on, the datagram
 * that begins a redirected flow brings its records and context. dwFlags of the WSAMSG takes flags as
 * MSG_PEEK, and gives MSG_TRUNC (then the call fails with WSAEMSGSIZE) and MSG_CTRUNC. */
INT WSAAPI WSARecvMsg(SOCKET s, LPWSAMSG lpMsg, LPDWORD lpdwNumberOfBytesRecvd,
                      LPWSAOVERLAPPED lpOverlapped,
                      LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine);

/* Sends a datagram. A control message of type IP_WFP_REDIRECT_RECORDS or IPV6_WFP_REDIRECT_RECORDS
 * sets the records for the flow to which it belongs, before it is sent; one of the context is left
 * out, so that what WSARecvMsg gave may be forwarded as it is. */
INT WSAAPI WSASendMsg(SOCKET s, LPWSAMSG lpMsg, DWORD dwFlags, LPDWORD lpNumberOfBytesSent,
                      LPWSAOVERLAPPED lpOverlapped,
                      LPWSAOVERLAPPED_COMPLETION_ROUTINE lpCompletionRoutine);

/* Queues a routine to a thread, which runs it in its next alertable wait. The structure is no longer
 * used when this returns. */
INT WSAAPI WPUQueueApc(LPWSATHREADID lpThreadId, LPWSAUSERAPC lpfnUserApc, DWORD_PTR dwContext,
                       LPINT lpErrno);

/* Fills in the calling thread's identity, for WSPIoctl and WPUQueueApc. */
INT WSAAPI WPUOpenCurrentThread(LPWSATHREADID lpThreadId, LPINT lpErrno);

/* Gives an identity back. */
INT WSAAPI WPUCloseThread(LPWSATHREADID lpThreadId, LPINT lpErrno);

/* What setsockopt means in a file that includes the header. */
INT WSAAPI hoptrail_setsockopt(SOCKET s, INT level, INT optname, LPCVOID optval, INT optlen);

/* What getsockopt means in a file that includes the header. */
INT WSAAPI hoptrail_getsockopt(SOCKET s, INT level, INT optname, LPVOID optval, LPINT optlen);

/* socket: an overlapped one. */
SOCKET WSAAPI hoptrail_socket(INT af, INT type, INT protocol);

/* bind. */
INT WSAAPI hoptrail_bind(SOCKET s, LPCSOCKADDR name, INT namelen);

/* listen. */
INT WSAAPI hoptrail_listen(SOCKET s, INT backlog);

/* accept: the new socket is overlapped if the listener is. */
SOCKET WSAAPI hoptrail_accept(SOCKET s, LPSOCKADDR addr, LPINT addrlen);

/* connect: a non-blocking one that is under way fails with WSAEWOULDBLOCK, as on Windows. */
INT WSAAPI hoptrail_connect(SOCKET s, LPCSOCKADDR name, INT namelen);

/* shutdown: SD_RECEIVE, SD_SEND and SD_BOTH are the system's SHUT_RD, SHUT_WR and SHUT_RDWR. */
INT WSAAPI hoptrail_shutdown(SOCKET s, INT how);

/* send: without SIGPIPE. */
INT WSAAPI hoptrail_send(SOCKET s, LPCVOID buf, INT len, INT flags);

/* sendto: without SIGPIPE. */
INT WSAAPI hoptrail_sendto(SOCKET s, LPCVOID buf, INT len, INT flags, LPCSOCKADDR to, INT tolen);

/* recv: on a socket with switches on, it loses the records of a flow that begins. */
INT WSAAPI hoptrail_recv(SOCKET s, LPVOID buf, INT len, INT flags);

/* recvfrom: as recv. */
INT WSAAPI hoptrail_recvfrom(SOCKET s, LPVOID buf, INT len, INT flags, LPSOCKADDR from,
                             LPINT fromlen);

/* getsockname. */
INT WSAAPI hoptrail_getsockname(SOCKET s, LPSOCKADDR name, LPINT namelen);

/* getpeername. */
INT WSAAPI hoptrail_getpeername(SOCKET s, LPSOCKADDR name, LPINT namelen);


#ifdef UNICODE
#define WSASocket WSASocketW
#define CreateEvent CreateEventW
#else
#define WSASocket WSASocketA
#define CreateEvent CreateEventA
#endif

#if !defined(HOPTRAIL_WINSOCK_NO_NAMES) && \
    (!defined(__cplusplus) || defined(HOPTRAIL_WINSOCK_NAMES))
#define setsockopt(s, level, optname, optval, optlen) hoptrail_setsockopt(s, level, optname, optval, optlen)
#define getsockopt(s, level, optname, optval, optlen) hoptrail_getsockopt(s, level, optname, optval, optlen)
#define socket(af, type, protocol) hoptrail_socket(af, type, protocol)
#define bind(s, name, namelen) hoptrail_bind(s, name, namelen)
#define listen(s, backlog) hoptrail_listen(s, backlog)
#define accept(s, addr, addrlen) hoptrail_accept(s, addr, addrlen)
#define connect(s, name, namelen) hoptrail_connect(s, name, namelen)
#define shutdown(s, how) hoptrail_shutdown(s, how)
#define send(s, buf, len, flags) hoptrail_send(s, buf, len, flags)
#define sendto(s, buf, len, flags, to, tolen) hoptrail_sendto(s, buf, len, flags, to, tolen)
#define recv(s, buf, len, flags) hoptrail_recv(s, buf, len, flags)
#define recvfrom(s, buf, len, flags, from, fromlen) hoptrail_recvfrom(s, buf, len, flags, from, fromlen)
#define getsockname(s, name, namelen) hoptrail_getsockname(s, name, namelen)
#define getpeername(s, name, namelen) hoptrail_getpeername(s, name, namelen)
#endif

#ifdef __cplusplus
}
#endif

#endif /* HOPTRAIL_WINSOCK_H */
