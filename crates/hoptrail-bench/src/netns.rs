//! A network namespace of our own, in which all of 192.0.2.0/24 is this machine.
#![expect(unsafe_code, reason = "ioctl(2) on an interface")]

use crate::Result;
use hoptrail_engine::EngineError;
use nix::sched::{CloneFlags, unshare};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

/// The first destination; its whole /24 (RFC 5737, for documentation) is local here.
pub(crate) const BASE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

/// Moves this thread, and what it starts from now on, into a new namespace.
pub(crate) fn enter() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| {
        EngineError::os("cannot make a network namespace; run as root", io::Error::from(e))
    })?;
    prepare().map_err(|e| EngineError::os("cannot set up lo in the network namespace", e))?;
    // Whole batches wait to be accepted.
    set("net/core/somaxconn", "8192")?;
    // A relay with one destination holds 50,000 connections to it; our own ports stay ours.
    set("net/ipv4/ip_local_port_range", "1024 65535")?;
    set("net/ipv4/ip_local_reserved_ports", "7000-7999")
}

fn set(name: &str, value: &str) -> Result<()> {
    std::fs::write(format!("/proc/sys/{name}"), value)
        .map_err(|e| EngineError::os(format!("cannot set {name} in the network namespace"), e))
}

fn prepare() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut up = request("lo");
    up.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    ioctl(&socket, libc::SIOCSIFFLAGS, &up)?;
    let mut address = request("lo:0");
    address.ifr_ifru.ifru_addr = sockaddr(BASE);
    ioctl(&socket, libc::SIOCSIFADDR, &address)?;
    let mut mask = request("lo:0");
    mask.ifr_ifru.ifru_netmask = sockaddr(MASK);
    ioctl(&socket, libc::SIOCSIFNETMASK, &mask)
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: `ifreq` is plain data, for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (into, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *into = byte as libc::c_char;
    }
    request
}

/// `struct sockaddr_in` seen as the `struct sockaddr` that `ifreq` holds: family, port, address.
fn sockaddr(ip: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (into, octet) in data[2..6].iter_mut().zip(ip.octets()) {
        *into = octet as libc::c_char;
    }
    libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data }
}

fn ioctl(socket: &UdpSocket, code: libc::Ioctl, request: &libc::ifreq) -> io::Result<()> {
    // SAFETY: the descriptor is open; the kernel only reads the structure, which is live.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), code as _, std::ptr::from_ref(request)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
