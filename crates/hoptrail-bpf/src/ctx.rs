//! Access to the hooks' contexts. The verifier allows only certain widths, and rustc merges
//! neighbouring stores into one that it refuses: every access here is volatile.

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr, bpf_sock_ops, bpf_sockopt, sockaddr};
use aya_ebpf::helpers::generated::{
    bpf_bind, bpf_get_netns_cookie, bpf_set_retval, bpf_setsockopt, bpf_sk_lookup_tcp,
    bpf_sk_lookup_udp, bpf_sk_release, bpf_sock_ops_cb_flags_set,
};
use core::ffi::c_void;
use core::ptr::{addr_of, addr_of_mut};
use hoptrail_core::{Endpoint, Ip, Protocol};

/// Let the call go on.
pub const ALLOW: i32 = 1;
/// Refuse it; the errno is what `refuse` set.
const REFUSE: i32 = 0;

const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const IPPROTO_MPTCP: u32 = 262;
const BPF_F_CURRENT_NETNS: u64 = u64::MAX;
const TCP_LISTEN: u32 = 10;

/// Which of the two hooks of a pair is running: tells how the context gives addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

#[inline(always)]
fn get<T: Copy>(field: *const T) -> T {
    // SAFETY: every caller passes a field of a context that the kernel handed to this program.
    unsafe { field.read_volatile() }
}

#[inline(always)]
fn put<T>(field: *mut T, value: T) {
    // SAFETY: as in `get`; the fields passed are those that the hook may write.
    unsafe { field.write_volatile(value) }
}

/// Refuses the system call with `errno`.
#[inline(always)]
pub fn refuse(errno: i32) -> i32 {
    // SAFETY: a plain helper call; available to connect, sendmsg and sockopt hooks.
    unsafe { bpf_set_retval(-errno) };
    REFUSE
}

/// A socket.
#[derive(Clone, Copy)]
pub struct Sock(*mut bpf_sock);

impl Sock {
    #[inline(always)]
    pub fn new(sk: *mut bpf_sock) -> Option<Self> {
        if sk.is_null() { None } else { Some(Self(sk)) }
    }

    #[inline(always)]
    pub fn raw(self) -> *mut c_void {
        self.0.cast()
    }

    #[inline(always)]
    fn is_v6(self) -> bool {
        get(unsafe { addr_of!((*self.0).family) }) == AF_INET6 as u32
    }

    /// The transport, or `None` for what Hoptrail does not redirect.
    #[inline(always)]
    pub fn protocol(self) -> Option<Protocol> {
        match get(unsafe { addr_of!((*self.0).protocol) }) {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }

    /// TCP state number.
    #[inline(always)]
    pub fn state(self) -> u32 {
        get(unsafe { addr_of!((*self.0).state) })
    }

    /// Interface index that the socket is bound to; 0 for none.
    #[inline(always)]
    pub fn device(self) -> u32 {
        get(unsafe { addr_of!((*self.0).bound_dev_if) })
    }

    #[inline(always)]
    pub fn local(self) -> Endpoint {
        let port = get(unsafe { addr_of!((*self.0).src_port) }) as u16;
        let ip = if self.is_v6() {
            Ip::from_words([
                get(unsafe { addr_of!((*self.0).src_ip6[0]) }),
                get(unsafe { addr_of!((*self.0).src_ip6[1]) }),
                get(unsafe { addr_of!((*self.0).src_ip6[2]) }),
                get(unsafe { addr_of!((*self.0).src_ip6[3]) }),
            ])
        } else {
            Ip::from_v4_word(get(unsafe { addr_of!((*self.0).src_ip4) }))
        };
        Endpoint::new(ip, port)
    }

    #[inline(always)]
    pub fn remote(self) -> Endpoint {
        let port = u16::from_be(get(unsafe { addr_of!((*self.0).dst_port) }));
        let ip = if self.is_v6() {
            Ip::from_words([
                get(unsafe { addr_of!((*self.0).dst_ip6[0]) }),
                get(unsafe { addr_of!((*self.0).dst_ip6[1]) }),
                get(unsafe { addr_of!((*self.0).dst_ip6[2]) }),
                get(unsafe { addr_of!((*self.0).dst_ip6[3]) }),
            ])
        } else {
            Ip::from_v4_word(get(unsafe { addr_of!((*self.0).dst_ip4) }))
        };
        Endpoint::new(ip, port)
    }
}

/// The context of the connect, sendmsg, recvmsg and getpeername hooks.
#[derive(Clone, Copy)]
pub struct SockAddr {
    raw: *mut bpf_sock_addr,
    family: Family,
}

impl SockAddr {
    #[inline(always)]
    pub fn new(raw: *mut bpf_sock_addr, family: Family) -> Self {
        Self { raw, family }
    }

    #[inline(always)]
    pub fn sock(self) -> Option<Sock> {
        Sock::new(get(unsafe { addr_of!((*self.raw).__bindgen_anon_1.sk) }))
    }

    #[inline(always)]
    pub fn family(self) -> Family {
        self.family
    }

    /// The transport; a multipath TCP socket asks here as itself and falls back to TCP on loopback.
    #[inline(always)]
    pub fn protocol(self) -> Option<Protocol> {
        match get(unsafe { addr_of!((*self.raw).protocol) }) {
            6 | IPPROTO_MPTCP => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }

    /// The address in the call: where it goes, or whence it came.
    #[inline(always)]
    pub fn address(self) -> Endpoint {
        let port = u16::from_be(get(unsafe { addr_of!((*self.raw).user_port) }) as u16);
        let ip = match self.family {
            Family::V4 => Ip::from_v4_word(get(unsafe { addr_of!((*self.raw).user_ip4) })),
            Family::V6 => Ip::from_words([
                get(unsafe { addr_of!((*self.raw).user_ip6[0]) }),
                get(unsafe { addr_of!((*self.raw).user_ip6[1]) }),
                get(unsafe { addr_of!((*self.raw).user_ip6[2]) }),
                get(unsafe { addr_of!((*self.raw).user_ip6[3]) }),
            ]),
        };
        Endpoint::new(ip, port)
    }

    /// Replaces the address in the call. An IPv6 hook takes IPv4 in its mapped form.
    #[inline(always)]
    pub fn set_address(self, endpoint: Endpoint) {
        match self.family {
            Family::V4 => put(unsafe { addr_of_mut!((*self.raw).user_ip4) }, endpoint.ip.v4_word()),
            Family::V6 => {
                let words = endpoint.ip.words();
                put(unsafe { addr_of_mut!((*self.raw).user_ip6[0]) }, words[0]);
                put(unsafe { addr_of_mut!((*self.raw).user_ip6[1]) }, words[1]);
                put(unsafe { addr_of_mut!((*self.raw).user_ip6[2]) }, words[2]);
                put(unsafe { addr_of_mut!((*self.raw).user_ip6[3]) }, words[3]);
            }
        }
        put(unsafe { addr_of_mut!((*self.raw).user_port) }, endpoint.port.to_be() as u32);
    }

    /// In a sendmsg hook: the source address of this datagram; unspecified when the kernel chooses.
    #[inline(always)]
    pub fn source(self) -> Ip {
        match self.family {
            Family::V4 => Ip::from_v4_word(get(unsafe { addr_of!((*self.raw).msg_src_ip4) })),
            Family::V6 => Ip::from_words([
                get(unsafe { addr_of!((*self.raw).msg_src_ip6[0]) }),
                get(unsafe { addr_of!((*self.raw).msg_src_ip6[1]) }),
                get(unsafe { addr_of!((*self.raw).msg_src_ip6[2]) }),
                get(unsafe { addr_of!((*self.raw).msg_src_ip6[3]) }),
            ]),
        }
    }

    /// In a sendmsg hook: sets the source address of this datagram.
    #[inline(always)]
    pub fn set_source(self, ip: Ip) {
        match self.family {
            Family::V4 => put(unsafe { addr_of_mut!((*self.raw).msg_src_ip4) }, ip.v4_word()),
            Family::V6 => {
                let words = ip.words();
                put(unsafe { addr_of_mut!((*self.raw).msg_src_ip6[0]) }, words[0]);
                put(unsafe { addr_of_mut!((*self.raw).msg_src_ip6[1]) }, words[1]);
                put(unsafe { addr_of_mut!((*self.raw).msg_src_ip6[2]) }, words[2]);
                put(unsafe { addr_of_mut!((*self.raw).msg_src_ip6[3]) }, words[3]);
            }
        }
    }

    #[inline(always)]
    pub fn netns(self) -> u64 {
        unsafe { bpf_get_netns_cookie(self.raw.cast()) }
    }

    /// Whether a TCP socket listens, or a UDP socket is bound, at `at` in this network namespace.
    #[inline(always)]
    pub fn listening(self, protocol: Protocol, at: Endpoint) -> bool {
        let mut tuple = LookupTuple::default();
        let words = at.ip.words();
        let port = at.port.to_be();
        let size = if at.ip.is_v4() {
            tuple.v4(words[3], port);
            12
        } else {
            tuple.v6(words, port);
            36
        };
        let tuple = (&raw mut tuple).cast();
        let ctx = self.raw.cast();
        if protocol as u32 == Protocol::Tcp as u32 {
            let sk = unsafe { bpf_sk_lookup_tcp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0) };
            if sk.is_null() {
                return false;
            }
            let listens = get(unsafe { addr_of!((*sk).state) }) == TCP_LISTEN;
            unsafe { bpf_sk_release(sk.cast()) };
            return listens;
        }
        let sk = unsafe { bpf_sk_lookup_udp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0) };
        if sk.is_null() {
            return false;
        }
        unsafe { bpf_sk_release(sk.cast()) };
        true
    }

    /// Binds the socket to a local port; only in connect hooks.
    #[inline(always)]
    pub fn bind(self, port: u16) -> bool {
        // struct sockaddr_in and sockaddr_in6 as words: family and port, then zeroes.
        let (family, length) = match self.family {
            Family::V4 => (AF_INET, 16),
            Family::V6 => (AF_INET6, 28),
        };
        let mut address = [0u32; 7];
        address[0] = family as u32 | (port.to_be() as u32) << 16;
        let address = (&raw mut address).cast::<sockaddr>();
        unsafe { bpf_bind(self.raw, address, length) == 0 }
    }

    /// Frees the socket from the device it is bound to: from a device other than `lo`, the proxy's
    /// loopback address cannot be reached.
    #[inline(always)]
    pub fn unbind_device(self) -> bool {
        let mut none = [0u8; 16];
        let none = (&raw mut none).cast();
        unsafe { bpf_setsockopt(self.raw.cast(), SOL_SOCKET, SO_BINDTODEVICE, none, 16) == 0 }
    }
}

/// `struct bpf_sock_tuple` for a lookup by destination alone.
#[derive(Default)]
#[repr(C)]
struct LookupTuple([u32; 9]);

impl LookupTuple {
    #[inline(always)]
    fn v4(&mut self, address: u32, port: u16) {
        // saddr, daddr, sport | dport << 16.
        self.0[1] = address;
        self.0[2] = (port as u32) << 16;
    }

    #[inline(always)]
    fn v6(&mut self, address: [u32; 4], port: u16) {
        self.0[4] = address[0];
        self.0[5] = address[1];
        self.0[6] = address[2];
        self.0[7] = address[3];
        self.0[8] = (port as u32) << 16;
    }
}

/// The context of the sock_ops hook.
#[derive(Clone, Copy)]
pub struct SockOps(*mut bpf_sock_ops);

impl SockOps {
    #[inline(always)]
    pub fn new(raw: *mut bpf_sock_ops) -> Self {
        Self(raw)
    }

    #[inline(always)]
    pub fn operation(self) -> u32 {
        get(unsafe { addr_of!((*self.0).op) })
    }

    /// For a state change: the new TCP state.
    #[inline(always)]
    pub fn new_state(self) -> u32 {
        get(unsafe { addr_of!((*self.0).__bindgen_anon_1.args[1]) })
    }

    #[inline(always)]
    pub fn sock(self) -> Option<Sock> {
        Sock::new(get(unsafe { addr_of!((*self.0).__bindgen_anon_2.sk) }))
    }

    #[inline(always)]
    pub fn netns(self) -> u64 {
        unsafe { bpf_get_netns_cookie(self.0.cast()) }
    }

    #[inline(always)]
    fn is_v6(self) -> bool {
        get(unsafe { addr_of!((*self.0).family) }) == AF_INET6 as u32
    }

    /// Local end. `v4` says that the connection is IPv4, also on an IPv6 socket: while it connects,
    /// only the IPv4 fields of such a socket are filled in.
    #[inline(always)]
    pub fn local(self, v4: bool) -> Endpoint {
        let port = get(unsafe { addr_of!((*self.0).local_port) }) as u16;
        let ip = if v4 || !self.is_v6() {
            Ip::from_v4_word(get(unsafe { addr_of!((*self.0).local_ip4) }))
        } else {
            Ip::from_words([
                get(unsafe { addr_of!((*self.0).local_ip6[0]) }),
                get(unsafe { addr_of!((*self.0).local_ip6[1]) }),
                get(unsafe { addr_of!((*self.0).local_ip6[2]) }),
                get(unsafe { addr_of!((*self.0).local_ip6[3]) }),
            ])
        };
        Endpoint::new(ip, port)
    }

    /// Remote end; `v4` as in [`Self::local`].
    #[inline(always)]
    pub fn remote(self, v4: bool) -> Endpoint {
        let port = u32::from_be(get(unsafe { addr_of!((*self.0).remote_port) })) as u16;
        let ip = if v4 || !self.is_v6() {
            Ip::from_v4_word(get(unsafe { addr_of!((*self.0).remote_ip4) }))
        } else {
            Ip::from_words([
                get(unsafe { addr_of!((*self.0).remote_ip6[0]) }),
                get(unsafe { addr_of!((*self.0).remote_ip6[1]) }),
                get(unsafe { addr_of!((*self.0).remote_ip6[2]) }),
                get(unsafe { addr_of!((*self.0).remote_ip6[3]) }),
            ])
        };
        Endpoint::new(ip, port)
    }

    /// Asks to be called at every later change of this socket's state.
    #[inline(always)]
    pub fn watch_state(self) {
        const STATE_CB_FLAG: u32 = 4;
        let flags = get(unsafe { addr_of!((*self.0).bpf_sock_ops_cb_flags) }) | STATE_CB_FLAG;
        unsafe { bpf_sock_ops_cb_flags_set(self.0, flags as i32) };
    }
}

/// The context of the getsockopt and setsockopt hooks.
#[derive(Clone, Copy)]
pub struct Sockopt(*mut bpf_sockopt);

impl Sockopt {
    #[inline(always)]
    pub fn new(raw: *mut bpf_sockopt) -> Self {
        Self(raw)
    }

    #[inline(always)]
    pub fn sock(self) -> Option<Sock> {
        Sock::new(get(unsafe { addr_of!((*self.0).__bindgen_anon_1.sk) }))
    }

    #[inline(always)]
    pub fn level(self) -> i32 {
        get(unsafe { addr_of!((*self.0).level) })
    }

    #[inline(always)]
    pub fn name(self) -> i32 {
        get(unsafe { addr_of!((*self.0).optname) })
    }

    #[inline(always)]
    pub fn length(self) -> i32 {
        get(unsafe { addr_of!((*self.0).optlen) })
    }

    #[inline(always)]
    pub fn set_length(self, length: i32) {
        put(unsafe { addr_of_mut!((*self.0).optlen) }, length);
    }

    #[inline(always)]
    pub fn succeed(self) {
        put(unsafe { addr_of_mut!((*self.0).retval) }, 0);
    }

    #[inline(always)]
    pub fn netns(self) -> u64 {
        unsafe { bpf_get_netns_cookie(self.0.cast()) }
    }

    #[inline(always)]
    fn bytes(self) -> (*mut u8, *mut u8) {
        let start = get(unsafe { addr_of!((*self.0).__bindgen_anon_2.optval) });
        let end = get(unsafe { addr_of!((*self.0).__bindgen_anon_3.optval_end) });
        (start.cast(), end.cast())
    }

    /// The value's `T` at byte `at`, if it reaches that far.
    #[inline(always)]
    pub fn read<T: Copy>(self, at: usize) -> Option<T> {
        let (start, end) = self.bytes();
        let field = start.wrapping_add(at);
        if field.wrapping_add(size_of::<T>()) > end {
            return None;
        }
        // SAFETY: the comparison is the one that the verifier wants.
        Some(unsafe { field.cast::<T>().read_volatile() })
    }

    /// Writes `value` at byte `at`, if there is room.
    #[inline(always)]
    pub fn write<T: Copy>(self, at: usize, value: T) -> bool {
        let (start, end) = self.bytes();
        let field = start.wrapping_add(at);
        if field.wrapping_add(size_of::<T>()) > end {
            return false;
        }
        // SAFETY: as in `read`.
        unsafe { field.cast::<T>().write_volatile(value) };
        true
    }
}
