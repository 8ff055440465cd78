//! UDP: records and context come with the datagram that begins a flow, and are kept here until they are
//! asked for.

use super::{AsSock, borrow, control, ioctl};
use crate::error::{Error, Operation, Result};
use crate::records::Records;
use crate::redirect::{Redirect, Told};
use crate::sockaddr;
use socket2::{Domain, MsgHdr, SockAddr, SockRef, Socket, Type};
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use windows_sys::Win32::Networking::WinSock::{
    IP_WFP_REDIRECT_CONTEXT, IP_WFP_REDIRECT_RECORDS, IPPROTO_IP, IPPROTO_IPV6, MSG_CTRUNC,
    WSAECONNRESET, WSAEMSGSIZE, WSAENETRESET,
};
use zerocopy::IntoBytes;

/// Flows that are remembered, as the kernel side does on Linux: the oldest goes first.
const FLOWS: usize = 8192;
/// Room for records and context of one datagram.
const CONTROL_BYTES: usize = 8192;

/// The flows that have begun.
#[derive(Debug)]
pub(crate) struct Flows {
    /// Why the system delivers no records, if so.
    silent: Option<i32>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// What came; an error number where it could not be read.
    flows: HashMap<SocketAddr, std::result::Result<Redirect, i32>>,
    order: VecDeque<SocketAddr>,
}

impl Flows {
    /// Asks the system to deliver records and context on this socket. Where it cannot, that is told
    /// when a flow is asked for, as on Linux.
    pub(crate) fn of(socket: &impl AsSock) -> io::Result<Self> {
        let v6 = SockRef::from(socket).local_addr()?.is_ipv6();
        let on = |level| {
            [IP_WFP_REDIRECT_RECORDS, IP_WFP_REDIRECT_CONTEXT]
                .iter()
                .try_for_each(|&option| ioctl::switch_on(borrow(socket), level, option))
        };
        // A dual-stack socket gets those of IPv4 too; one that is for IPv6 only refuses them.
        let result =
            if v6 { on(IPPROTO_IPV6).map(|()| drop(on(IPPROTO_IP))) } else { on(IPPROTO_IP) };
        let silent = result.err().map(|error| error.raw_os_error().unwrap_or_default());
        Ok(Self { silent, known: Mutex::default() })
    }

    /// Receives a datagram, and keeps what came with it.
    pub(crate) fn recv_from(
        &self,
        socket: &impl AsSock,
        buffer: &mut [u8],
    ) -> io::Result<(usize, SocketAddr)> {
        let mut room = [0; CONTROL_BYTES];
        let received = loop {
            match ioctl::receive(borrow(socket), buffer, &mut room) {
                Err(error) if of_another_datagram(&error) => {}
                received => break received?,
            }
        };
        let from = address(&received.from)?;
        if received.flags & MSG_CTRUNC != 0 {
            self.known().insert(from, Err(WSAEMSGSIZE));
        } else if let control::Came { records: Some(records), context } =
            control::read(&room[..received.control_bytes])
        {
            let context = context.map_or(Told::Nothing, Told::from_bytes);
            let to = context.destination();
            let redirect = Redirect::new(Records::from_bytes(records), context, to);
            self.known().insert(from, redirect.map_err(|_| 0));
        }
        Ok((received.bytes, from))
    }

    /// The flow of a peer.
    pub(crate) fn redirect_of(
        &self,
        _: &impl AsSock,
        peer: SocketAddr,
    ) -> Result<Option<Redirect>> {
        let error =
            |number| Error::new(Operation::ReadRecords, io::Error::from_raw_os_error(number));
        if let Some(number) = self.silent {
            return Err(error(number));
        }
        match self.known().flows.get(&peer) {
            None => Ok(None),
            Some(Ok(redirect)) => Ok(Some(redirect.clone())),
            Some(Err(0)) => Err(Error::unknown_version(Operation::ReadDestination)),
            Some(Err(number)) => Err(error(*number)),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn insert(&mut self, peer: SocketAddr, flow: std::result::Result<Redirect, i32>) {
        if self.flows.insert(peer, flow).is_some() {
            return;
        }
        self.order.push_back(peer);
        if self.order.len() > FLOWS
            && let Some(oldest) = self.order.pop_front()
        {
            self.flows.remove(&oldest);
        }
    }
}

/// A socket for a flow, on which `first` was sent with the records beside it. It is not connected: that
/// would be classified once more, and without records.
pub(crate) fn dial_flow(redirect: &Redirect, first: Option<&[u8]>) -> Result<UdpSocket> {
    let to = redirect.destination();
    let failed = |error| Error::new(Operation::Send(to), error);
    let datagram = first.ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)
        .map_err(Error::of(Operation::OpenSocket))?;
    let (name, data) = (SockAddr::from(to), [IoSlice::new(datagram)]);
    let control = control::records(redirect.records().as_bytes(), to.is_ipv4());
    let message = MsgHdr::new().with_addr(&name).with_buffers(&data).with_control(&control);
    socket.sendmsg(&message, 0).map_err(failed)?;
    Ok(socket.into())
}

/// Windows tells the next receive that an earlier reply found nobody. That says nothing of this one.
fn of_another_datagram(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAECONNRESET | WSAENETRESET))
}

fn address(storage: &[u64; 16]) -> io::Result<SocketAddr> {
    let none = || io::Error::other("the peer has no IP address");
    sockaddr::decode(storage.as_bytes()).ok_or_else(none)
}
