//! Every number of the interface, once: the C header prints this table.

/// A number as the header writes it.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Its documented name.
    pub name: &'static str,
    /// Its value in C.
    pub text: &'static str,
}

macro_rules! constants {
    ($table:ident: $kind:ty; $($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        $($(#[$doc])* pub const $name: $kind = $value;)*
        /// The numbers above, in their order.
        pub const $table: &[Constant] =
            &[$(Constant { name: stringify!($name), text: stringify!($value) }),*];
    };
}

constants! { CONTROL_CODES: u32;
    /// Gives the records of the connection that a redirect delivered.
    SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS = 0x980000DC;
    /// Gives the context of the redirect that delivered the connection.
    SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT = 0x980000DD;
    /// Sets records on a new TCP socket.
    SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS = 0x980000DE;
    /// Cancels the socket's pending operations.
    SIO_FLUSH = 0x28000004;
    /// Gives the address of `WSARecvMsg` or `WSASendMsg`.
    SIO_GET_EXTENSION_FUNCTION_POINTER = 0xC8000006;
    /// No parameters.
    IOC_VOID = 0x20000000;
    /// A generic code.
    IOC_WS2 = 0x08000000;
    /// A vendor's code.
    IOC_VENDOR = 0x18000000;
}

constants! { DIRECTIONS: u32;
    /// Switches non-blocking mode; Linux has another number, and both are taken.
    FIONBIO_WINSOCK = 0x8004667E;
    /// Parameters are copied in. The header leaves these three to <sys/ioctl.h>, which gives others.
    IOC_IN = 0x80000000;
    /// Parameters are copied out.
    IOC_OUT = 0x40000000;
    /// Parameters are copied in and out.
    IOC_INOUT = 0xC0000000;
}

constants! { OPTIONS: i32;
    /// Delivers records of IPv4 flows with `WSARecvMsg`; type of the control message.
    IP_WFP_REDIRECT_RECORDS = 60;
    /// As `IP_WFP_REDIRECT_RECORDS`, the context.
    IP_WFP_REDIRECT_CONTEXT = 70;
    /// As `IP_WFP_REDIRECT_RECORDS`, of IPv6 flows.
    IPV6_WFP_REDIRECT_RECORDS = 60;
    /// As `IPV6_WFP_REDIRECT_RECORDS`, the context.
    IPV6_WFP_REDIRECT_CONTEXT = 70;
}

constants! { ERRORS: i32;
    /// Success.
    ERROR_SUCCESS = 0;
    /// A handle is not what it should be.
    ERROR_INVALID_HANDLE = 6;
    /// As `ERROR_INVALID_HANDLE`.
    WSA_INVALID_HANDLE = 6;
    /// No memory.
    WSA_NOT_ENOUGH_MEMORY = 8;
    /// A parameter is not acceptable.
    ERROR_INVALID_PARAMETER = 87;
    /// As `ERROR_INVALID_PARAMETER`.
    WSA_INVALID_PARAMETER = 87;
    /// The buffer is too small; the size needed is given.
    ERROR_INSUFFICIENT_BUFFER = 122;
    /// The port was closed while a thread waited at it.
    ERROR_ABANDONED_WAIT_0 = 735;
    /// The operation was cancelled.
    WSA_OPERATION_ABORTED = 995;
    /// As `WSA_OPERATION_ABORTED`.
    ERROR_OPERATION_ABORTED = 995;
    /// The operation has not finished.
    WSA_IO_INCOMPLETE = 996;
    /// As `WSA_IO_INCOMPLETE`.
    ERROR_IO_INCOMPLETE = 996;
    /// The operation will complete later.
    WSA_IO_PENDING = 997;
    /// As `WSA_IO_PENDING`.
    ERROR_IO_PENDING = 997;
    /// There is no such operation.
    ERROR_NOT_FOUND = 1168;
    /// A blocking call was interrupted.
    WSAEINTR = 10004;
    /// The descriptor is not open.
    WSAEBADF = 10009;
    /// The right is missing.
    WSAEACCES = 10013;
    /// A pointer leads nowhere.
    WSAEFAULT = 10014;
    /// An argument is not acceptable; a query: there are no records.
    WSAEINVAL = 10022;
    /// Descriptors ran out.
    WSAEMFILE = 10024;
    /// It would have to wait.
    WSAEWOULDBLOCK = 10035;
    /// A callback is running in this thread.
    WSAEINPROGRESS = 10036;
    /// It is already being done.
    WSAEALREADY = 10037;
    /// The descriptor is not a socket.
    WSAENOTSOCK = 10038;
    /// An address is needed.
    WSAEDESTADDRREQ = 10039;
    /// The message is larger than the buffer.
    WSAEMSGSIZE = 10040;
    /// The protocol does not fit the socket's type.
    WSAEPROTOTYPE = 10041;
    /// The protocol has no such option.
    WSAENOPROTOOPT = 10042;
    /// There is no such protocol.
    WSAEPROTONOSUPPORT = 10043;
    /// There is no such type of socket.
    WSAESOCKTNOSUPPORT = 10044;
    /// The socket cannot do that.
    WSAEOPNOTSUPP = 10045;
    /// There is no such address family.
    WSAEAFNOSUPPORT = 10047;
    /// The address is in use.
    WSAEADDRINUSE = 10048;
    /// The address is not this machine's.
    WSAEADDRNOTAVAIL = 10049;
    /// No engine acts on the socket.
    WSAENETDOWN = 10050;
    /// There is no way to the network.
    WSAENETUNREACH = 10051;
    /// The network dropped the connection.
    WSAENETRESET = 10052;
    /// The connection was given up on this side.
    WSAECONNABORTED = 10053;
    /// The peer reset the connection.
    WSAECONNRESET = 10054;
    /// Memory or a table is full.
    WSAENOBUFS = 10055;
    /// The socket is already connected.
    WSAEISCONN = 10056;
    /// The socket is not connected.
    WSAENOTCONN = 10057;
    /// The socket was shut down.
    WSAESHUTDOWN = 10058;
    /// The peer did not answer in time.
    WSAETIMEDOUT = 10060;
    /// The peer refused the connection.
    WSAECONNREFUSED = 10061;
    /// The name has too many links.
    WSAELOOP = 10062;
    /// The peer's machine is down.
    WSAEHOSTDOWN = 10064;
    /// There is no way to the peer.
    WSAEHOSTUNREACH = 10065;
    /// The system is not ready.
    WSASYSNOTREADY = 10091;
    /// That version is not supported.
    WSAVERNOTSUPPORTED = 10092;
    /// `WSAStartup` has not been called.
    WSANOTINITIALISED = 10093;
    /// A call that should not fail did.
    WSASYSCALLFAILURE = 10107;
}

constants! { WAITS: u32;
    /// The first object is signalled.
    WSA_WAIT_EVENT_0 = 0;
    /// As `WSA_WAIT_EVENT_0`.
    WAIT_OBJECT_0 = 0;
    /// A completion routine or another APC has run.
    WSA_WAIT_IO_COMPLETION = 0xC0;
    /// As `WSA_WAIT_IO_COMPLETION`.
    WAIT_IO_COMPLETION = 0xC0;
    /// The time is over.
    WSA_WAIT_TIMEOUT = 258;
    /// As `WSA_WAIT_TIMEOUT`.
    WAIT_TIMEOUT = 258;
    /// The wait failed.
    WSA_WAIT_FAILED = 0xFFFFFFFF;
    /// As `WSA_WAIT_FAILED`.
    WAIT_FAILED = 0xFFFFFFFF;
    /// Wait without end.
    WSA_INFINITE = 0xFFFFFFFF;
    /// As `WSA_INFINITE`.
    INFINITE = 0xFFFFFFFF;
    /// As many objects one wait can take.
    WSA_MAXIMUM_WAIT_EVENTS = 64;
    /// As `WSA_MAXIMUM_WAIT_EVENTS`.
    MAXIMUM_WAIT_OBJECTS = 64;
    /// The socket takes overlapped operations.
    WSA_FLAG_OVERLAPPED = 0x01;
    /// The descriptor is closed when another program is executed.
    WSA_FLAG_NO_HANDLE_INHERIT = 0x80;
    /// What `Internal` of an OVERLAPPED holds while the operation is pending.
    STATUS_PENDING = 0x103;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_93_the_three_codes() {
        assert_eq!(SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS, IOC_IN | IOC_VENDOR | 220);
        assert_eq!(SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT, IOC_IN | IOC_VENDOR | 221);
        assert_eq!(SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS, IOC_IN | IOC_VENDOR | 222);
        assert_eq!(SIO_FLUSH, IOC_VOID | IOC_WS2 | 4);
        assert_eq!(SIO_GET_EXTENSION_FUNCTION_POINTER, IOC_INOUT | IOC_WS2 | 6);
    }

    /// The table of the reference's section 1.3, written down a second time.
    #[test]
    fn statement_96_every_documented_number() {
        let documented = [
            (ERROR_INSUFFICIENT_BUFFER, 122),
            (WSA_INVALID_HANDLE, 6),
            (WSA_INVALID_PARAMETER, 87),
            (WSA_OPERATION_ABORTED, 995),
            (WSA_IO_INCOMPLETE, 996),
            (WSA_IO_PENDING, 997),
            (ERROR_NOT_FOUND, 1168),
            (WSAEACCES, 10013),
            (WSAEINVAL, 10022),
            (WSAEINPROGRESS, 10036),
            (WSAEMSGSIZE, 10040),
            (WSAENOPROTOOPT, 10042),
            (WSAEOPNOTSUPP, 10045),
            (WSAENETDOWN, 10050),
            (WSAENOBUFS, 10055),
            (WSAENOTCONN, 10057),
            (WSAECONNREFUSED, 10061),
            (WSANOTINITIALISED, 10093),
            (WSAEINTR, 10004),
            (WSAEFAULT, 10014),
            (WSAEWOULDBLOCK, 10035),
            (WSAENOTSOCK, 10038),
        ];
        for (here, there) in documented {
            assert_eq!(here, there);
        }
    }
}
