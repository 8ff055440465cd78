//! The C functions, as a C program sees them.
#![expect(
    unsafe_code,
    reason = "functions of a C interface; every pointer is checked by the kernel"
)]

use hoptrail_winsock::types::{
    BOOL, DWORD, HANDLE, INT, LPCHANDLE, LPCVOID, LPDWORD, LPINT, LPLPOVERLAPPED, LPOVERLAPPED,
    LPVOID, LPWSADATA, LPWSAMSG, LPWSAOVERLAPPED, LPWSAOVERLAPPED_COMPLETION_ROUTINE, PULONG_PTR,
    SOCKET, ULONG_PTR, WORD,
};

unsafe extern "C" {
    pub(crate) safe fn WSAStartup(version: WORD, data: LPWSADATA) -> INT;
    pub(crate) safe fn WSACleanup() -> INT;
    pub(crate) safe fn WSAGetLastError() -> INT;
    pub(crate) safe fn WSAIoctl(
        s: SOCKET,
        code: DWORD,
        input: LPVOID,
        input_size: DWORD,
        output: LPVOID,
        output_size: DWORD,
        count: LPDWORD,
        overlapped: LPWSAOVERLAPPED,
        routine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    ) -> INT;
    pub(crate) safe fn WSAGetOverlappedResult(
        s: SOCKET,
        overlapped: LPWSAOVERLAPPED,
        count: LPDWORD,
        wait: BOOL,
        flags: LPDWORD,
    ) -> BOOL;
    pub(crate) safe fn WSACreateEvent() -> HANDLE;
    pub(crate) safe fn WSACloseEvent(event: HANDLE) -> BOOL;
    pub(crate) safe fn WSAWaitForMultipleEvents(
        count: DWORD,
        events: LPCHANDLE,
        all: BOOL,
        limit: DWORD,
        alertable: BOOL,
    ) -> DWORD;
    pub(crate) safe fn SleepEx(limit: DWORD, alertable: BOOL) -> DWORD;
    pub(crate) safe fn CancelIoEx(file: HANDLE, overlapped: LPOVERLAPPED) -> BOOL;
    pub(crate) safe fn CloseHandle(handle: HANDLE) -> BOOL;
    pub(crate) safe fn CreateIoCompletionPort(
        file: HANDLE,
        port: HANDLE,
        key: ULONG_PTR,
        threads: DWORD,
    ) -> HANDLE;
    pub(crate) safe fn GetQueuedCompletionStatus(
        port: HANDLE,
        bytes: LPDWORD,
        key: PULONG_PTR,
        overlapped: LPLPOVERLAPPED,
        limit: DWORD,
    ) -> BOOL;
    pub(crate) safe fn closesocket(s: SOCKET) -> INT;
    pub(crate) safe fn WSARecvMsg(
        s: SOCKET,
        message: LPWSAMSG,
        count: LPDWORD,
        overlapped: LPWSAOVERLAPPED,
        routine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    ) -> INT;
    pub(crate) safe fn WSASendMsg(
        s: SOCKET,
        message: LPWSAMSG,
        flags: DWORD,
        count: LPDWORD,
        overlapped: LPWSAOVERLAPPED,
        routine: LPWSAOVERLAPPED_COMPLETION_ROUTINE,
    ) -> INT;
    pub(crate) safe fn hoptrail_setsockopt(
        s: SOCKET,
        level: INT,
        name: INT,
        value: LPCVOID,
        size: INT,
    ) -> INT;
    pub(crate) safe fn hoptrail_getsockopt(
        s: SOCKET,
        level: INT,
        name: INT,
        value: LPVOID,
        size: LPINT,
    ) -> INT;
    pub(crate) safe fn hoptrail_recv(s: SOCKET, buffer: LPVOID, size: INT, flags: INT) -> INT;
}
