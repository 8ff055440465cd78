//! The demo's network: a namespace of its own with the origin's addresses on `lo`, made over netlink so that no
//! tool need be installed.

use crate::failure::Failure;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The origin's addresses, both from the ranges for documentation.
pub(crate) const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub(crate) const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);

/// `lo` is always the first interface of a namespace.
const LO: u32 = 1;

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 2;

/// Moves this thread, and whatever is started from it, into a new network namespace with the origin's addresses;
/// gives those that there are. A kernel may do without IPv6.
pub(crate) fn enter() -> Result<Vec<IpAddr>, Failure> {
    unshare(CloneFlags::CLONE_NEWNET)
        .map_err(|e| Failure::os("cannot make a network namespace for the demo", e))?;
    let mut netlink =
        Netlink::open().map_err(|e| Failure::os("cannot open a netlink socket", e))?;
    netlink.up(LO).map_err(|e| Failure::os("cannot bring lo up in the demo's namespace", e))?;
    netlink
        .add(V4.into(), LO)
        .map_err(|e| Failure::os(format!("cannot give lo the address {V4}"), e))?;
    let mut addresses = vec![IpAddr::from(V4)];
    if netlink.add(V6.into(), LO).is_ok() {
        addresses.push(V6.into());
    }
    Ok(addresses)
}

struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    fn open() -> io::Result<Self> {
        let route = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(route))?;
        Ok(Self { socket, sequence: 0 })
    }

    fn up(&mut self, interface: u32) -> io::Result<()> {
        let mut body = vec![0, 0, 0, 0];
        for word in [interface, IFF_UP, IFF_UP] {
            body.extend(word.to_ne_bytes());
        }
        self.ask(RTM_NEWLINK, 0, &body)
    }

    fn add(&mut self, address: IpAddr, interface: u32) -> io::Result<()> {
        let (family, octets) = match address {
            IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
        };
        let prefix = octets.len() * 8;
        let mut body = vec![family as u8, prefix as u8, 0, 0];
        body.extend(interface.to_ne_bytes());
        for attribute in [IFA_LOCAL, IFA_ADDRESS] {
            body.extend((octets.len() as u16 + 4).to_ne_bytes());
            body.extend(attribute.to_ne_bytes());
            body.extend(&octets);
        }
        // At once: while duplicates are looked for, nothing can be bound to an IPv6 address.
        body.extend(8u16.to_ne_bytes());
        body.extend(IFA_FLAGS.to_ne_bytes());
        body.extend(IFA_F_NODAD.to_ne_bytes());
        self.ask(RTM_NEWADDR, NLM_F_CREATE, &body)
    }

    /// Sends a message and waits for the kernel's acknowledgement.
    fn ask(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        self.socket.send(&message(kind, flags, self.sequence, body))?;
        let mut answer = [0; 512];
        let n = (&self.socket).read(&mut answer)?;
        outcome(&answer[..n])
    }
}

/// `struct nlmsghdr` and what follows it.
fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((16 + body.len() as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(body);
    bytes
}

/// An acknowledgement is an error message with the number zero, otherwise with a negative errno.
fn outcome(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
    let code = answer.get(16..20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "netlink answered with something else"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_the_kernel_reads_them() {
        let bytes = message(RTM_NEWADDR, NLM_F_CREATE, 7, &[1, 2, 3, 4]);
        assert_eq!(bytes.len(), 20);
        assert_eq!(bytes[..4], 20u32.to_ne_bytes());
        assert_eq!(bytes[4..6], 20u16.to_ne_bytes());
        assert_eq!(bytes[6..8], 0x405u16.to_ne_bytes());
        assert_eq!(bytes[8..12], 7u32.to_ne_bytes());
    }

    #[test]
    fn refusals_carry_the_errno() {
        let mut answer = message(NLMSG_ERROR, 0, 1, &0i32.to_ne_bytes());
        assert!(outcome(&answer).is_ok());
        answer[16..20].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        assert_eq!(outcome(&answer).unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert!(outcome(&answer[..10]).is_err());
    }
}
