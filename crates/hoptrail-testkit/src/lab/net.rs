//! A network namespace with the lab's addresses, made over netlink so that no tool need be installed.

use super::address;
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsRawFd;

/// `lo` is always the first interface of a namespace.
const LO: u32 = 1;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

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

    /// Another namespace, reached from this one by the interface `name`. `here` and `there` are the
    /// addresses of the two ends, in one network of each family. Gives the interface's index, too.
    pub(super) fn neighbour(
        &self,
        name: &str,
        here: [IpAddr; 2],
        there: [IpAddr; 2],
    ) -> io::Result<(Self, u32)> {
        let other = Self::new()?;
        let interface = self.inside(|| {
            let netlink = Netlink::open()?;
            netlink.veth(name, &other.file)?;
            netlink.configure(name, here)
        })?;
        other.inside(|| Netlink::open()?.configure(name, there))?;
        Ok((other, interface))
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

    /// A pair of interfaces called `name`, one here and one in the namespace `there`.
    fn veth(&self, name: &str, there: &File) -> io::Result<()> {
        let name = attribute(IFLA_IFNAME, format!("{name}\0").as_bytes());
        let namespace = attribute(IFLA_NET_NS_FD, &there.as_raw_fd().to_ne_bytes());
        let peer = [&[0; 16][..], &name, &namespace].concat();
        let data = attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer));
        let info = [attribute(IFLA_INFO_KIND, b"veth"), data].concat();
        let body = [&[0; 16][..], &name, &attribute(IFLA_LINKINFO, &info)].concat();
        self.ask(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body)
    }

    fn configure(&self, name: &str, addresses: [IpAddr; 2]) -> io::Result<u32> {
        let interface = nix::net::if_::if_nametoindex(name)?;
        self.up(interface)?;
        for address in addresses {
            self.prefix(address, if address.is_ipv4() { 24 } else { 64 }, interface)?;
        }
        Ok(interface)
    }

    fn address(&self, address: IpAddr, interface: u32) -> io::Result<()> {
        self.prefix(address, if address.is_ipv4() { 32 } else { 128 }, interface)
    }

    fn prefix(&self, address: IpAddr, bits: u8, interface: u32) -> io::Result<()> {
        let (family, octets) = match address {
            IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
        };
        let mut body = vec![family as u8, bits, 0, 0];
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
