//! The cells of the matrix: how a client gets somewhere, and what becomes of it there.
//!
//! | what becomes of it | loopback | own address | another machine |
//! |---|---|---|---|
//! | redirected to a proxy on loopback | context | context | context |
//! | redirected to a proxy at an own address | context | context | context |
//! | let through by a permit filter | no context | no context | no context |
//! | matched by no filter | no context | no context | no context |
//! | blocked | the error | the error | the error |
//! | the very address of a proxy | no context | no context | - |
//!
//! Each for four families and three protocols. The columns are where the client wanted to go. The `-`, and
//! the rows of a redirect to a proxy on another machine, which eBPF for Windows has, cannot exist: a
//! listener on another machine cannot be asked for being alive and counts as gone, so no provider has its
//! proxy there (`kernel_tcp/elsewhere.rs`).

use hoptrail_testkit::lab::{BEYOND_V4, BEYOND_V6, V4, V4_OTHER, V6, listener};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A client's socket and the address that it names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6, and nothing else on that socket.
    V6,
    /// IPv4-mapped, on a dual-stack socket.
    Mapped,
    /// IPv6, on a dual-stack socket.
    DualV6,
}

/// How the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Protocol {
    Tcp,
    ConnectedUdp,
    UnconnectedUdp,
}

/// Whose address the client names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Loopback,
    Own,
    Beyond,
}

/// What the policy says of a destination's port.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Redirected(Proxy),
    Permitted,
    Unmatched,
    Blocked,
}

/// A provider's proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proxy {
    /// Acme's, on loopback.
    Loopback,
    /// Beta's, at an address of this machine that is not loopback.
    Own,
}

/// Whereto the client wants.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Destination(Place, Fate),
    Listener(Proxy),
}

impl Family {
    pub(crate) const ALL: [Self; 4] = [Self::V4, Self::V6, Self::Mapped, Self::DualV6];

    /// Whether the packets are IPv4.
    pub(crate) const fn is_v4(self) -> bool {
        matches!(self, Self::V4 | Self::Mapped)
    }

    /// Whether the client's socket is for both.
    pub(crate) const fn is_dual(self) -> bool {
        matches!(self, Self::Mapped | Self::DualV6)
    }

    /// An address as the client writes it.
    pub(crate) fn form(self, at: SocketAddr) -> SocketAddr {
        match (self, at.ip()) {
            (Self::Mapped, IpAddr::V4(v4)) => (v4.to_ipv6_mapped(), at.port()).into(),
            _ => at,
        }
    }
}

impl Place {
    pub(crate) const ALL: [Self; 3] = [Self::Loopback, Self::Own, Self::Beyond];

    fn ip(self, v4: bool) -> IpAddr {
        match (self, v4) {
            (Self::Loopback, true) => Ipv4Addr::LOCALHOST.into(),
            (Self::Loopback, false) => Ipv6Addr::LOCALHOST.into(),
            (Self::Own, true) => V4.into(),
            (Self::Own, false) => V6.into(),
            (Self::Beyond, true) => BEYOND_V4.into(),
            (Self::Beyond, false) => BEYOND_V6.into(),
        }
    }

    /// Every destination there: something listens at each, so that a redirect which does not happen and
    /// a block which does not hold are answered.
    pub(crate) fn destinations(self) -> Vec<SocketAddr> {
        let both = [true, false].map(|v4| self.ip(v4));
        both.iter().flat_map(|ip| Fate::ALL.map(|fate| (*ip, fate.port()).into())).collect()
    }
}

impl Fate {
    const ALL: [Self; 5] = [
        Self::Redirected(Proxy::Loopback),
        Self::Redirected(Proxy::Own),
        Self::Permitted,
        Self::Unmatched,
        Self::Blocked,
    ];

    /// The port by which the policy knows it.
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Redirected(Proxy::Loopback) => 8000,
            Self::Permitted => 8001,
            Self::Blocked => 8002,
            Self::Redirected(Proxy::Own) => 8003,
            Self::Unmatched => 8004,
        }
    }
}

impl Proxy {
    pub(crate) const ALL: [Self; 2] = [Self::Loopback, Self::Own];

    pub(crate) const fn provider(self) -> &'static str {
        match self {
            Self::Loopback => "acme",
            Self::Own => "beta",
        }
    }

    /// Bytes of the context which only this provider gives.
    pub(crate) const fn bytes(self) -> &'static str {
        match self {
            Self::Loopback => "acme's own bytes",
            Self::Own => "beta's",
        }
    }

    pub(crate) fn listener(self, v4: bool) -> SocketAddr {
        let at = listener(self.provider(), v4);
        match (self, v4) {
            (Self::Loopback, _) => at,
            (Self::Own, true) => (V4_OTHER, at.port()).into(),
            (Self::Own, false) => (V6, at.port()).into(),
        }
    }

    pub(crate) fn port(self) -> u16 {
        self.listener(true).port()
    }
}

impl Target {
    pub(crate) fn all() -> Vec<Self> {
        let at = |place| Fate::ALL.map(|fate| Self::Destination(place, fate));
        let destinations = Place::ALL.into_iter().flat_map(at);
        destinations.chain(Proxy::ALL.map(Self::Listener)).collect()
    }

    /// Its address.
    pub(crate) fn at(self, v4: bool) -> SocketAddr {
        match self {
            Self::Destination(place, fate) => (place.ip(v4), fate.port()).into(),
            Self::Listener(proxy) => proxy.listener(v4),
        }
    }
}
