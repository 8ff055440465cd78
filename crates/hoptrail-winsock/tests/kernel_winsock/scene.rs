//! The usual scene, and the C functions as the tests call them.

use super::winsock::{WSACleanup, WSAGetLastError, WSAIoctl, WSAStartup};
use hoptrail_testkit::lab::{Actor, Fd, Lab, Origin, PORT, V4, listener};
use hoptrail_winsock::codes;
use hoptrail_winsock::types::{LPDWORD, LPVOID, LPWSAOVERLAPPED, WSADATA, WSAOVERLAPPED};
use serde::{Deserialize, Serialize};
use std::io;
use std::ptr::{null_mut, without_provenance_mut};

pub(crate) const RECORDS: u32 = codes::SIO_QUERY_WFP_CONNECTION_REDIRECT_RECORDS;
pub(crate) const CONTEXT: u32 = codes::SIO_QUERY_WFP_CONNECTION_REDIRECT_CONTEXT;
pub(crate) const SET: u32 = codes::SIO_SET_WFP_CONNECTION_REDIRECT_RECORDS;
/// What a buffer holds before each call.
pub(crate) const UNTOUCHED: u8 = 0xa5;

/// An application, acme's process, a destination.
pub(crate) struct Scene {
    pub(crate) origin: Origin,
    pub(crate) app: Actor,
    pub(crate) acme: Actor,
    /// Acme's IPv4 listener.
    pub(crate) listener: Fd,
    pub(crate) lab: Lab,
}

impl Scene {
    /// Acme redirects everything.
    pub(crate) fn new() -> Self {
        let lab = Lab::of(|lab| vec![lab.provider("acme", 200)]);
        let (app, acme) = (lab.actor("app"), lab.actor("acme"));
        let listener = acme.listen(listener("acme", true), 64).unwrap();
        Self { origin: lab.origin((V4, PORT).into()), app, acme, listener, lab }
    }

    /// A redirected connection as acme has accepted it.
    pub(crate) fn accepted(&self) -> Fd {
        self.app.dial(self.origin.at()).unwrap();
        self.acme.accept(self.listener).unwrap().0
    }
}

/// What a WSAIoctl did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The error; 0 for success.
    pub(crate) error: i32,
    pub(crate) count: u32,
    /// The whole output buffer.
    pub(crate) buffer: Vec<u8>,
}

/// Winsock is started as long as this lives.
pub(crate) struct Started;

impl Started {
    pub(crate) fn new() -> Self {
        let mut data = std::mem::MaybeUninit::<WSADATA>::uninit();
        assert_eq!(WSAStartup(0x0202, data.as_mut_ptr()), 0);
        Self
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        WSACleanup();
    }
}

/// A synchronous query with so much room, in an actor.
pub(crate) fn query(actor: &Actor, socket: Fd, code: u32, room: usize) -> Done {
    actor.run((socket.0, code, room), |(fd, code, room)| Ok(query_here(fd, code, room))).unwrap()
}

/// A synchronous query with so much room.
pub(crate) fn query_here(fd: i32, code: u32, room: usize) -> Done {
    let _started = Started::new();
    let mut buffer = vec![UNTOUCHED; room];
    let mut count = 0xdead;
    let out = buffer.as_mut_ptr().cast();
    let error = ioctl(fd, code, &mut [], (out, room as u32), &raw mut count, null_mut());
    Done { error, count, buffer }
}

/// A synchronous SET, in an actor: its error.
pub(crate) fn set(actor: &Actor, socket: Fd, blob: &[u8]) -> i32 {
    actor
        .run((socket.0, blob.to_vec()), |(fd, mut blob)| {
            let _started = Started::new();
            let mut count = 0xdead;
            let error = ioctl(fd, SET, &mut blob, (null_mut(), 0), &raw mut count, null_mut());
            assert_eq!(count, if error == codes::WSAENOTSOCK { count } else { 0 });
            Ok(error)
        })
        .unwrap()
}

/// WSAIoctl's error; 0 for success.
pub(crate) fn ioctl(
    fd: i32,
    code: u32,
    input: &mut [u8],
    output: (LPVOID, u32),
    count: LPDWORD,
    overlapped: LPWSAOVERLAPPED,
) -> i32 {
    let length = input.len() as u32;
    let input = if input.is_empty() { null_mut() } else { input.as_mut_ptr().cast() };
    let (out, room) = output;
    let result = WSAIoctl(fd as usize, code, input, length, out, room, count, overlapped, None);
    if result == 0 { 0 } else { WSAGetLastError() }
}

/// An address where no memory is.
pub(crate) fn nowhere<T>() -> *mut T {
    without_provenance_mut(64)
}

/// An OVERLAPPED with an event, at a fixed place.
pub(crate) fn overlapped(event: usize) -> Box<WSAOVERLAPPED> {
    Box::new(WSAOVERLAPPED { hEvent: event, ..WSAOVERLAPPED::default() })
}

/// A TCP socket whose connect is under way and will not end soon: of the listener's, whose queue is
/// full. Gives the listener, which must be kept, too.
pub(crate) fn connecting() -> io::Result<(socket2::Socket, Vec<socket2::Socket>)> {
    use socket2::{Domain, Socket, Type};
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    listener.listen(0)?;
    let at = listener.local_addr()?;
    let mut kept = vec![listener];
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let _ = socket.connect(&at);
        std::thread::sleep(std::time::Duration::from_millis(20));
        if is_connecting(&socket) {
            return Ok((socket, kept));
        }
        assert!(kept.len() < 20, "the queue is never full");
        kept.push(socket);
    }
}

fn is_connecting(socket: &socket2::Socket) -> bool {
    socket.peer_addr().is_err() && socket.take_error().unwrap().is_none()
}

/// Accepts all that wait, so that the connect under way can go on: it does when its SYN is sent again.
pub(crate) fn let_in(kept: &[socket2::Socket]) -> io::Result<Vec<socket2::Socket>> {
    (1..kept.len()).map(|_| kept[0].accept().map(|(socket, _)| socket)).collect()
}
