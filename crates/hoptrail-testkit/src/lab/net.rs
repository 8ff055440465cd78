//! A network namespace with the lab's addresses, made over netlink so that no tool need be installed.

use super::address;
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;

/// `lo` is always the first interface of a namespace.
const LO: u32 = 1;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 2;

/// The namespace lives as long as this, or a process in it.
#[derive(Debug)]
pub struct Net {
    file: File,
}

impl Net {
    /// A new one, with the lab's addresses on `lo`.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn new() -> io::Result<Self> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            let netlink = Netlink::open()?;
            netlink.up(LO)?;
            address::ALL.iter().try_for_each(|ip| netlink.address(*ip, LO))?;
            Ok(Self { file: File::open("/proc/thread-self/ns/net")? })
        })
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Runs `work` in it, on a thread; what is started there stays in it.
    ///
    /// # Panics
    /// When `work` does.
    pub fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        on_a_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET).expect("the lab's namespace is entered");
            work()
        })
    }
}

/// A thread changes its namespace for good: so each piece of work gets one.
fn on_a_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let result = std::thread::scope(|scope| scope.spawn(work).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

struct Netlink {
    socket: Socket,
}

impl Netlink {
    fn open() -> io::Result<Self> {
        let route = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(route))?;
        Ok(Self { socket })
    }

    fn up(&self, interface: u32) -> io::Result<()> {
        let mut body = vec![0; 4];
        for word in [interface, IFF_UP, IFF_UP] {
            body.extend(word.to_ne_bytes());
        }
        self.ask(RTM_NEWLINK, 0, &body)
    }

    fn address(&self, address: IpAddr, interface: u32) -> io::Result<()> {
        let (family, octets) = match address {
            IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
        };
        let prefix = octets.len() * 8;
        let mut body = vec![family as u8, prefix as u8, 0, 0];
        body.extend(interface.to_ne_bytes());
        body.extend(attribute(IFA_ADDRESS, &octets));
        body.extend(attribute(IFA_LOCAL, &octets));
        // Without waiting for duplicates to object.
        body.extend(attribute(IFA_FLAGS, &IFA_F_NODAD.to_ne_bytes()));
        self.ask(RTM_NEWADDR, NLM_F_CREATE, &body)
    }

    /// Sends a message and waits for the kernel's acknowledgement, which is an error message with the
    /// number zero.
    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let mut message = Vec::new();
        message.extend((16 + body.len() as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        self.socket.send(&message)?;
        let mut answer = [0; 1024];
        let n = (&self.socket).read(&mut answer)?;
        let code = answer[..n].get(16..20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
        match (u16::from_ne_bytes([answer[4], answer[5]]), code) {
            (NLMSG_ERROR, Some(0)) => Ok(()),
            (NLMSG_ERROR, Some(code)) => Err(io::Error::from_raw_os_error(-code)),
            _ => Err(io::Error::other("netlink answered with something else")),
        }
    }
}

/// `struct rtattr` and its value, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
