//! Opening an upstream socket that carries records on.

use crate::error::{Error, Operation, Result};
use crate::options::set_records;
use crate::records::Records;
use crate::sys::BorrowedSock;
use crate::{sockaddr, sys};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// The network interface to which the application had bound its socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Device {
    pub(crate) index: NonZeroU32,
    pub(crate) netns: u64,
}

/// A socket for `to`, with records and device, not connected yet.
pub(crate) fn prepare(
    to: SocketAddr,
    kind: Type,
    records: &Records,
    device: Option<Device>,
) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, None);
    equip(socket, records, device)
}

/// A non-blocking TCP socket for `to` whose connect is under way, in as few system calls as there are
/// things to tell: socket, records, Nagle off, connect (and two for an interface).
pub(crate) fn start(
    to: SocketAddr,
    records: &Records,
    device: Option<Device>,
    configure: impl FnOnce(BorrowedSock<'_>) -> io::Result<()>,
) -> Result<Socket> {
    let socket = sys::open_nonblocking(Domain::for_address(to), Type::STREAM);
    let socket = equip(socket, records, device)?;
    no_delay(&socket)?;
    configure(sys::borrow(&socket)).map_err(Error::of(Operation::OpenSocket))?;
    match socket.connect(&SockAddr::from(to)) {
        Err(error) if sys::under_way(&error) => Ok(socket),
        result => result.map(|()| socket).map_err(Error::of(Operation::Connect(to))),
    }
}

/// A relay passes on whole messages; waiting for more would cost each of them 40 ms.
pub(crate) fn no_delay(socket: &Socket) -> Result<()> {
    socket.set_tcp_nodelay(true).map_err(Error::of(Operation::OpenSocket))
}

/// Connects a prepared socket.
pub(crate) fn connect(socket: &Socket, to: SocketAddr, timeout: Option<Duration>) -> Result<()> {
    let address = SockAddr::from(to);
    let connected = match timeout {
        Some(timeout) => socket.connect_timeout(&address, timeout),
        None => match socket.connect(&address) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => finish(socket),
            other => other,
        },
    };
    connected.map_err(Error::of(Operation::Connect(to)))
}

/// The address in the form in which it is dialled: IPv4-mapped as IPv4, link-local with its interface.
pub(crate) fn dialled(to: SocketAddr, device: Option<Device>) -> SocketAddr {
    match (sockaddr::canonical(to), device) {
        (SocketAddr::V6(mut v6), Some(device))
            if v6.ip().is_unicast_link_local() && v6.scope_id() == 0 =>
        {
            v6.set_scope_id(device.index.get());
            v6.into()
        }
        (to, _) => to,
    }
}

fn equip(socket: io::Result<Socket>, records: &Records, device: Option<Device>) -> Result<Socket> {
    let socket = socket.map_err(Error::of(Operation::OpenSocket))?;
    set_records(&socket, records)?;
    if let Some(device) = device {
        sys::bind_device(&socket, device)?;
    }
    Ok(socket)
}

/// An interrupted connect goes on by itself; calling it again would be an error.
fn finish(socket: &Socket) -> io::Result<()> {
    let mut polled = [PollFd::new(socket, PollFlags::OUT)];
    loop {
        match poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return socket.take_error()?.map_or(Ok(()), Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const DEVICE: Device = Device { index: NonZeroU32::new(3).unwrap(), netns: 1 };

    #[test]
    fn only_link_local_addresses_need_an_interface() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let scoped = dialled(address("[fe80::1]:80"), Some(DEVICE));
        assert_eq!(scoped, address("[fe80::1%3]:80"));
        for text in ["[2001:db8::1]:80", "192.0.2.1:80", "[fe80::1%7]:80"] {
            assert_eq!(dialled(address(text), Some(DEVICE)), address(text));
        }
        assert_eq!(dialled(address("[::ffff:192.0.2.1]:80"), None), address("192.0.2.1:80"));
    }

    #[test]
    fn a_refused_connect_names_its_destination() {
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        for timeout in [None, Some(Duration::from_secs(5))] {
            let error = connect(&socket, gone, timeout).unwrap_err();
            assert_eq!(error.operation(), Operation::Connect(gone));
            assert_eq!(error.kind(), crate::ErrorKind::Refused, "{timeout:?}: {error}");
        }
    }

    #[test]
    fn finish_waits_for_a_connect_that_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&listener.local_addr().unwrap().into());
        finish(&socket).unwrap();
        assert!(socket.peer_addr().is_ok());
    }
}
