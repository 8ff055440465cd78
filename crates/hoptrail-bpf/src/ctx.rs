//! Access to the hooks' contexts. The verifier allows only certain widths at constant offsets, but the
//! compiler merges neighbouring accesses, and computes the address of one of two fields instead of
//! reading either: every access here is one instruction of our own.

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr, bpf_sock_ops, bpf_sockopt, sockaddr};
use aya_ebpf::helpers::generated::{
    bpf_bind, bpf_get_netns_cookie, bpf_set_retval, bpf_setsockopt, bpf_sk_lookup_tcp,
    bpf_sk_lookup_udp, bpf_sk_release, bpf_sock_ops_cb_flags_set,
};
use core::arch::asm;
use core::ffi::c_void;
use core::mem::offset_of;
use hoptrail_core::{Endpoint, Ip, Protocol};

/// Let the call go on.
pub const ALLOW: i32 = 1;
/// Refuse it; the errno is what `refuse` set.
const REFUSE: i32 = 0;

const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;
const SO_BINDTOIFINDEX: i32 = 62;
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

/// Reads the 32-bit field at byte `AT` of a context or socket.
#[inline(always)]
fn get<const AT: usize>(base: *const c_void) -> u32 {
    let value: u64;
    // SAFETY: every caller passes a context or socket that the kernel handed to this program, and the
    // offset of one of its fields; the verifier checks both.
    unsafe {
        asm!("{v} = *(u32 *)({b} + {at})", v = lateout(reg) value, b = in(reg) base, at = const AT,
            options(nostack));
    }
    value as u32
}

/// Reads the pointer at byte `AT` of a context.
#[inline(always)]
fn get_pointer<const AT: usize, T>(base: *const c_void) -> *mut T {
    let value: *mut T;
    // SAFETY: as in `get`.
    unsafe {
        asm!("{v} = *(u64 *)({b} + {at})", v = lateout(reg) value, b = in(reg) base, at = const AT,
            options(nostack));
    }
    value
}

/// Writes the 32-bit field at byte `AT` of a context.
#[inline(always)]
fn put<const AT: usize>(base: *mut c_void, value: u32) {
    // SAFETY: as in `get`; the fields are those that the hook may write.
    unsafe {
        asm!("*(u32 *)({b} + {at}) = {v}", v = in(reg) u64::from(value), b = in(reg) base,
            at = const AT, options(nostack));
    }
}

/// The four words of the IPv6 address at byte `AT`.
macro_rules! get_ip6 {
    ($base:expr, $at:expr) => {
        [
            get::<{ $at }>($base),
            get::<{ $at + 4 }>($base),
            get::<{ $at + 8 }>($base),
            get::<{ $at + 12 }>($base),
        ]
    };
}

macro_rules! put_ip6 {
    ($base:expr, $at:expr, $words:expr) => {{
        let words = $words;
        put::<{ $at }>($base, words[0]);
        put::<{ $at + 4 }>($base, words[1]);
        put::<{ $at + 8 }>($base, words[2]);
        put::<{ $at + 12 }>($base, words[3]);
    }};
}

/// Refuses the system call with `errno`.
#[inline(always)]
pub fn refuse(errno: i32) -> i32 {
    // SAFETY: a plain helper call; available to connect, sendmsg and sockopt hooks.
    unsafe { bpf_set_retval(-errno) };
    REFUSE
}

/// The address of the right family. Both are read before: given the choice, the compiler would compute
/// the field's address instead, and the verifier refuses computed addresses in a context.
#[inline(always)]
fn choose(v6: bool, short: u32, long: [u32; 4]) -> Ip {
    if v6 { Ip::from_words(long) } else { Ip::from_v4_word(short) }
}

/// Takes back the refusal of a program that ran before this one.
#[inline(always)]
pub fn accept_call() {
    // SAFETY: as in `refuse`.
    unsafe { bpf_set_retval(0) };
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
    fn family(self) -> u32 {
        get::<{ offset_of!(bpf_sock, family) }>(self.0.cast())
    }

    #[inline(always)]
    fn is_v6(self) -> bool {
        self.family() == AF_INET6 as u32
    }

    /// The transport, or `None` for what Hoptrail does not redirect. Other families have numbers of
    /// their own: a netlink socket's 6 is not TCP.
    #[inline(always)]
    pub fn protocol(self) -> Option<Protocol> {
        let family = self.family();
        if family != AF_INET as u32 && family != AF_INET6 as u32 {
            return None;
        }
        match get::<{ offset_of!(bpf_sock, protocol) }>(self.0.cast()) {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }

    /// TCP state number.
    #[inline(always)]
    pub fn state(self) -> u32 {
        get::<{ offset_of!(bpf_sock, state) }>(self.0.cast())
    }

    /// Interface index that the socket is bound to; 0 for none.
    #[inline(always)]
    pub fn device(self) -> u32 {
        get::<{ offset_of!(bpf_sock, bound_dev_if) }>(self.0.cast())
    }

    #[inline(always)]
    pub fn local(self) -> Endpoint {
        let port = get::<{ offset_of!(bpf_sock, src_port) }>(self.0.cast()) as u16;
        let v4 = get::<{ offset_of!(bpf_sock, src_ip4) }>(self.0.cast());
        let v6 = get_ip6!(self.0.cast(), offset_of!(bpf_sock, src_ip6));
        Endpoint::new(choose(self.is_v6(), v4, v6), port)
    }

    #[inline(always)]
    pub fn remote(self) -> Endpoint {
        let port = u16::from_be(get::<{ offset_of!(bpf_sock, dst_port) }>(self.0.cast()) as u16);
        let v4 = get::<{ offset_of!(bpf_sock, dst_ip4) }>(self.0.cast());
        let v6 = get_ip6!(self.0.cast(), offset_of!(bpf_sock, dst_ip6));
        Endpoint::new(choose(self.is_v6(), v4, v6), port)
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

    /// Where the family does not matter.
    #[inline(always)]
    pub fn plain(raw: *mut bpf_sock_addr) -> Self {
        Self { raw, family: Family::V4 }
    }

    #[inline(always)]
    pub fn raw(self) -> *mut bpf_sock_addr {
        self.raw
    }

    #[inline(always)]
    pub fn sock(self) -> Option<Sock> {
        Sock::new(get_pointer::<{ offset_of!(bpf_sock_addr, __bindgen_anon_1) }, _>(
            self.raw.cast(),
        ))
    }

    /// The transport; a multipath TCP socket asks here as itself and falls back to TCP on loopback.
    #[inline(always)]
    pub fn protocol(self) -> Option<Protocol> {
        match get::<{ offset_of!(bpf_sock_addr, protocol) }>(self.raw.cast()) {
            6 | IPPROTO_MPTCP => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }

    /// The address in the call: where it goes, or whence it came.
    #[inline(always)]
    pub fn address(self) -> Endpoint {
        let port =
            u16::from_be(get::<{ offset_of!(bpf_sock_addr, user_port) }>(self.raw.cast()) as u16);
        let ip = match self.family {
            Family::V4 => {
                Ip::from_v4_word(get::<{ offset_of!(bpf_sock_addr, user_ip4) }>(self.raw.cast()))
            }
            Family::V6 => {
                Ip::from_words(get_ip6!(self.raw.cast(), offset_of!(bpf_sock_addr, user_ip6)))
            }
        };
        Endpoint::new(ip, port)
    }

    /// Replaces the address in the call. An IPv6 hook takes IPv4 in its mapped form.
    #[inline(always)]
    pub fn set_address(self, endpoint: Endpoint) {
        match self.family {
            Family::V4 => put::<{ offset_of!(bpf_sock_addr, user_ip4) }>(
                self.raw.cast(),
                endpoint.ip.v4_word(),
            ),
            Family::V6 => {
                put_ip6!(self.raw.cast(), offset_of!(bpf_sock_addr, user_ip6), endpoint.ip.words());
            }
        }
        put::<{ offset_of!(bpf_sock_addr, user_port) }>(
            self.raw.cast(),
            endpoint.port.to_be() as u32,
        );
    }

    /// In a sendmsg hook: the source address of this datagram; unspecified when the kernel chooses.
    #[inline(always)]
    pub fn source(self) -> Ip {
        match self.family {
            Family::V4 => {
                Ip::from_v4_word(get::<{ offset_of!(bpf_sock_addr, msg_src_ip4) }>(self.raw.cast()))
            }
            Family::V6 => {
                Ip::from_words(get_ip6!(self.raw.cast(), offset_of!(bpf_sock_addr, msg_src_ip6)))
            }
        }
    }

    /// In a sendmsg hook: sets the source address of this datagram.
    #[inline(always)]
    pub fn set_source(self, ip: Ip) {
        match self.family {
            Family::V4 => {
                put::<{ offset_of!(bpf_sock_addr, msg_src_ip4) }>(self.raw.cast(), ip.v4_word())
            }
            Family::V6 => {
                put_ip6!(self.raw.cast(), offset_of!(bpf_sock_addr, msg_src_ip6), ip.words());
            }
        }
    }

    #[inline(always)]
    pub fn netns(self) -> u64 {
        unsafe { bpf_get_netns_cookie(self.raw.cast()) }
    }

    /// Whether a TCP socket listens, or a UDP socket is bound, at the address in `tuple` in this network
    /// namespace.
    #[inline(always)]
    pub fn listening(self, protocol: Protocol, tuple: &mut LookupTuple, v4: bool) -> bool {
        let size = if v4 { 12 } else { 36 };
        let tuple = (&raw mut *tuple).cast();
        let ctx = self.raw.cast();
        let tcp = protocol as u32 == Protocol::Tcp as u32;
        let sk = if tcp {
            unsafe { bpf_sk_lookup_tcp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0) }
        } else {
            unsafe { bpf_sk_lookup_udp(ctx, tuple, size, BPF_F_CURRENT_NETNS, 0) }
        };
        if sk.is_null() {
            return false;
        }
        let state = get::<{ offset_of!(bpf_sock, state) }>(sk.cast());
        unsafe { bpf_sk_release(sk.cast()) };
        !tcp || state == TCP_LISTEN
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

    /// Binds the socket to a device again.
    #[inline(always)]
    pub fn bind_device(self, index: u32) {
        let mut index = index;
        let index = (&raw mut index).cast();
        unsafe { bpf_setsockopt(self.raw.cast(), SOL_SOCKET, SO_BINDTOIFINDEX, index, 4) };
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
#[repr(C)]
pub struct LookupTuple([u32; 9]);

impl LookupTuple {
    /// To the address in these two words, which is IPv4 if `v4`, and `port`.
    #[inline(always)]
    pub fn to(high: u64, low: u64, port: u16, v4: bool) -> Self {
        let ports = (port.to_be() as u32) << 16;
        let mut tuple = Self([0; 9]);
        // IPv4: saddr, daddr, sport | dport << 16. IPv6: the addresses take four words each.
        if v4 {
            tuple.0[1] = (low >> 32) as u32;
            tuple.0[2] = ports;
        } else {
            tuple.0[4] = high as u32;
            tuple.0[5] = (high >> 32) as u32;
            tuple.0[6] = low as u32;
            tuple.0[7] = (low >> 32) as u32;
            tuple.0[8] = ports;
        }
        tuple
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
        get::<{ offset_of!(bpf_sock_ops, op) }>(self.0.cast())
    }

    /// For a state change: the new TCP state.
    #[inline(always)]
    pub fn new_state(self) -> u32 {
        get::<{ offset_of!(bpf_sock_ops, __bindgen_anon_1) + 4 }>(self.0.cast())
    }

    #[inline(always)]
    pub fn sock(self) -> Option<Sock> {
        Sock::new(get_pointer::<{ offset_of!(bpf_sock_ops, __bindgen_anon_2) }, _>(self.0.cast()))
    }

    #[inline(always)]
    pub fn netns(self) -> u64 {
        unsafe { bpf_get_netns_cookie(self.0.cast()) }
    }

    #[inline(always)]
    fn is_v6(self) -> bool {
        get::<{ offset_of!(bpf_sock_ops, family) }>(self.0.cast()) == AF_INET6 as u32
    }

    /// Local end. `v4` says that the connection is IPv4, also on an IPv6 socket: while it connects,
    /// only the IPv4 fields of such a socket are filled in.
    #[inline(always)]
    pub fn local(self, v4: bool) -> Endpoint {
        let port = get::<{ offset_of!(bpf_sock_ops, local_port) }>(self.0.cast()) as u16;
        let short = get::<{ offset_of!(bpf_sock_ops, local_ip4) }>(self.0.cast());
        let long = get_ip6!(self.0.cast(), offset_of!(bpf_sock_ops, local_ip6));
        Endpoint::new(choose(!v4 && self.is_v6(), short, long), port)
    }

    /// Remote end; `v4` as in [`Self::local`].
    #[inline(always)]
    pub fn remote(self, v4: bool) -> Endpoint {
        let port =
            u32::from_be(get::<{ offset_of!(bpf_sock_ops, remote_port) }>(self.0.cast())) as u16;
        let short = get::<{ offset_of!(bpf_sock_ops, remote_ip4) }>(self.0.cast());
        let long = get_ip6!(self.0.cast(), offset_of!(bpf_sock_ops, remote_ip6));
        Endpoint::new(choose(!v4 && self.is_v6(), short, long), port)
    }

    /// Asks to be called at every later change of this socket's state.
    #[inline(always)]
    pub fn watch_state(self) {
        const STATE_CB_FLAG: u32 = 4;
        let flags = get::<{ offset_of!(bpf_sock_ops, bpf_sock_ops_cb_flags) }>(self.0.cast())
            | STATE_CB_FLAG;
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
        Sock::new(get_pointer::<{ offset_of!(bpf_sockopt, __bindgen_anon_1) }, _>(self.0.cast()))
    }

    #[inline(always)]
    pub fn level(self) -> i32 {
        get::<{ offset_of!(bpf_sockopt, level) }>(self.0.cast()) as i32
    }

    #[inline(always)]
    pub fn name(self) -> i32 {
        get::<{ offset_of!(bpf_sockopt, optname) }>(self.0.cast()) as i32
    }

    #[inline(always)]
    pub fn length(self) -> i32 {
        get::<{ offset_of!(bpf_sockopt, optlen) }>(self.0.cast()) as i32
    }

    #[inline(always)]
    pub fn set_length(self, length: i32) {
        put::<{ offset_of!(bpf_sockopt, optlen) }>(self.0.cast(), length as u32);
    }

    /// What the kernel answered, or a program that ran before this one.
    #[inline(always)]
    pub fn result(self) -> i32 {
        get::<{ offset_of!(bpf_sockopt, retval) }>(self.0.cast()) as i32
    }

    #[inline(always)]
    pub fn succeed(self) {
        put::<{ offset_of!(bpf_sockopt, retval) }>(self.0.cast(), 0);
    }

    #[inline(always)]
    pub fn netns(self) -> u64 {
        unsafe { bpf_get_netns_cookie(self.0.cast()) }
    }

    #[inline(always)]
    fn bytes(self) -> (*mut u8, *mut u8) {
        (
            get_pointer::<{ offset_of!(bpf_sockopt, __bindgen_anon_2) }, _>(self.0.cast()),
            get_pointer::<{ offset_of!(bpf_sockopt, __bindgen_anon_3) }, _>(self.0.cast()),
        )
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
