/* The header in C++, as most Windows programs are. */
#include <hoptrail_winsock.h>

static void CALLBACK routine(DWORD, DWORD, LPWSAOVERLAPPED, DWORD)
{
}

int compiles(SOCKET s)
{
    WSADATA data;
    DWORD count = 0;
    WSAOVERLAPPED operation = {};
    if (WSAStartup(MAKEWORD(2, 2), &data) != 0) {
        return 1;
    }
    return WSAIoctl(s, SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, nullptr, 0, nullptr, 0, &count, &operation, routine);
}
