//! Every map, and the only access to them.
//!
//! Values are returned as raw pointers: they are shared with other CPUs, and a Rust reference would
//! promise what nobody can keep.

use crate::ctx::Sock;
use aya_ebpf::bindings::{BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE};
use aya_ebpf::btf_maps::{
    Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, RingBuf, SkStorage,
};
use aya_ebpf::helpers::generated::{
    bpf_map_delete_elem, bpf_map_lookup_elem, bpf_map_update_elem, bpf_sk_storage_get,
};
use aya_ebpf::macros::btf_map;
use core::ffi::c_void;
use core::intrinsics::{AtomicOrdering, atomic_xadd};
use core::ptr::null_mut;
use hoptrail_core::image::IMAGE_WORDS;
use hoptrail_core::shared::{
    COUNTERS as COUNTER_COUNT, ContextBytes, Counter, EventRecord, ExeKey, ExePath, MAX_CONTEXTS,
};
use hoptrail_core::{Ip, Trail};

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

/// Open redirected TCP connections. No entry is ever evicted: a full table refuses connects.
pub const MAX_LINKS: usize = 65_536;
/// Redirected UDP flows; the least recently used goes first.
pub const MAX_FLOWS: usize = 8_192;

/// The policy in force: one inner map with one value, the image.
#[btf_map]
static POLICY: ArrayOfMaps<Array<[u64; IMAGE_WORDS], 1>, 1> = ArrayOfMaps::new();

/// Link id to the trail of that connection.
#[btf_map]
static LINKS: HashMap<u64, Trail, MAX_LINKS, NO_PREALLOC> = HashMap::new();

/// The four addresses of a redirected connection that no proxy has accepted yet, to its link id. Twice
/// as large as `LINKS`, so that it cannot be the first to be full.
#[btf_map]
static TUPLES: HashMap<Tuple, u64, { 2 * MAX_LINKS }, NO_PREALLOC> = HashMap::new();

/// What is known of a socket.
#[btf_map]
static SOCKS: SkStorage<SockState> = SkStorage::new();

/// The trail with which a socket starts: set by its proxy, or adopted.
#[btf_map]
static STAGED: SkStorage<Trail> = SkStorage::new();

/// UDP: what was decided for a socket and a remote.
#[btf_map]
static FLOWS: LruHashMap<SockRemote, Decided, MAX_FLOWS> = LruHashMap::new();

/// UDP: flow id to its trail.
#[btf_map]
static FLOW_TRAILS: LruHashMap<u64, Trail, MAX_FLOWS> = LruHashMap::new();

/// UDP: the peer as a proxy sees it, to the flow id.
#[btf_map]
static PEERS: LruHashMap<Peer, u64, MAX_FLOWS> = LruHashMap::new();

/// UDP: the source of a reply as the client's socket sees it, to the remote that it had sent to.
#[btf_map]
static REPLIES: LruHashMap<SockRemote, Remote, MAX_FLOWS> = LruHashMap::new();

/// UDP: the peer that a thread means with its next socket options.
#[btf_map]
static SELECTED: LruHashMap<ThreadSock, Remote, 4096> = LruHashMap::new();

/// UDP: the trail that a proxy's socket carries to one destination.
#[btf_map]
static DESTINATIONS: LruHashMap<SockRemote, Trail, 1024> = LruHashMap::new();

/// The latest connections that went to a provider for a destination.
#[btf_map]
static RECENT: LruHashMap<RecentKey, Recent, 16_384> = LruHashMap::new();

/// The connection whose origin a thread has asked last.
#[btf_map]
static ASKED: LruHashMap<u64, u64, 4096> = LruHashMap::new();

#[btf_map]
static CONTEXTS: Array<ContextBytes, MAX_CONTEXTS> = Array::new();

#[btf_map]
static PATHS: LruHashMap<ExeKey, ExePath, 1024> = LruHashMap::new();

/// Two words that only the kernel side uses: whoever can read this map can forge records.
#[btf_map]
static KEY: Array<[u64; 2], 1> = Array::new();

#[btf_map]
static COUNTERS: PerCpuArray<u64, COUNTER_COUNT> = PerCpuArray::new();

/// The last id given.
#[btf_map]
static SEQUENCE: Array<u64, 1> = Array::new();

#[btf_map]
static EVENTS: RingBuf<EventRecord, { 4 << 20 }> = RingBuf::new();

/// The policy's generation, for user space alone: it must outlive the engine that counts it.
#[btf_map]
static GENERATION: Array<u64, 1> = Array::new();

/// When a reader of the events was woken last, nanoseconds since boot.
#[btf_map]
static LAST_WAKE: Array<u64, 1> = Array::new();

/// Zeroes to start large values from: a BPF stack has 512 bytes.
#[btf_map]
static TEMPLATE: Array<Template, 1> = Array::new();

#[repr(C)]
pub struct Template {
    pub trail: Trail,
    pub path: ExePath,
    pub recent: Recent,
    pub zero: u64,
}

/// Bits of [`SockState::flags`].
pub mod sock_flag {
    /// A redirect was applied to this socket's connect.
    pub const ISSUED: u32 = 1;
    /// This is the proxy's end of a redirected connection.
    pub const ACCEPTED: u32 = 2;
    /// The proxy has asked for records or context of this connection, or closed it: nobody will ask
    /// for the first time after its end.
    pub const ASKED: u32 = 8;
    /// `STAGED` holds a trail.
    pub const STAGED: u32 = 4;
    /// The link is in `TUPLES`, or was.
    pub const TUPLED: u32 = 16;
    /// UDP: some flow of this socket is in `FLOWS`.
    pub const FLOWS: u32 = 32;
    /// UDP: its own address stands for one of its flows.
    pub const NAMED: u32 = 128;
    /// UDP: `DESTINATIONS` holds a trail for some destination of this socket.
    pub const DESTINATIONS: u32 = 64;
}

/// What is known of a socket. Changed only under the socket's lock.
#[repr(C)]
pub struct SockState {
    pub flags: u32,
    pub asked_port: u16,
    pub to_port: u16,
    pub from_port: u16,
    pub reserved: u16,
    /// The device that the socket was bound to before a redirect freed it; 0 for none.
    pub device: u32,
    /// Link id of the redirected connection.
    pub id: u64,
    /// Identity of the socket in keys; 0 until it is needed.
    pub uid: u64,
    pub asked: Ip,
    pub to: Ip,
    pub from: Ip,
}

/// The four addresses of a TCP connection, as its client sees them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Tuple {
    pub netns: u64,
    pub client: Ip,
    pub listener: Ip,
    pub client_port: u32,
    pub listener_port: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct SockRemote {
    pub sock: u64,
    pub ip: Ip,
    pub port: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Remote {
    pub ip: Ip,
    pub port: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct ThreadSock {
    pub thread: u64,
    pub sock: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Peer {
    pub netns: u64,
    pub ip: Ip,
    pub port: u32,
    pub listener_port: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct Decided {
    /// Flow id; 0 when it was let through.
    pub id: u64,
    pub generation: u64,
    pub to: Ip,
    /// Source address to send from, so that the proxy can tell this flow from the socket's others;
    /// unspecified for the socket's own.
    pub alias: Ip,
    pub to_port: u64,
    /// Datagrams sent.
    pub sent: u64,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub struct RecentKey {
    pub handle: u64,
    pub netns: u64,
    pub ip: Ip,
    pub port: u32,
    pub protocol: u32,
}

/// Connections remembered per provider and destination.
pub const RECENT_IDS: usize = 8;

#[repr(C)]
pub struct Recent {
    pub next: u64,
    pub ids: [u64; RECENT_IDS],
}

macro_rules! tables {
    ($($name:ident = $map:ident: $key:ty => $value:ty;)*) => {
        $(
            #[inline(always)]
            pub fn $name() -> Table<$key, $value> {
                Table::new(&raw const $map)
            }
        )*
    };
}

tables! {
    links = LINKS: u64 => Trail;
    tuples = TUPLES: Tuple => u64;
    flows = FLOWS: SockRemote => Decided;
    flow_trails = FLOW_TRAILS: u64 => Trail;
    peers = PEERS: Peer => u64;
    replies = REPLIES: SockRemote => Remote;
    selected = SELECTED: ThreadSock => Remote;
    destinations = DESTINATIONS: SockRemote => Trail;
    recent = RECENT: RecentKey => Recent;
    asked = ASKED: u64 => u64;
    paths = PATHS: ExeKey => ExePath;
}

/// A hash table with its key and value types.
pub struct Table<K, V> {
    map: *mut c_void,
    types: core::marker::PhantomData<(K, V)>,
}

impl<K, V> Table<K, V> {
    #[inline(always)]
    fn new<M>(map: *const M) -> Self {
        Self { map: map.cast_mut().cast(), types: core::marker::PhantomData }
    }

    /// Null when there is no such entry.
    #[inline(always)]
    pub fn get(&self, key: &K) -> *mut V {
        unsafe { bpf_map_lookup_elem(self.map, core::ptr::from_ref(key).cast_mut().cast()).cast() }
    }

    /// False when the table is full.
    #[inline(always)]
    pub fn put(&self, key: &K, value: *const V) -> bool {
        let key = core::ptr::from_ref(key).cast_mut().cast();
        unsafe { bpf_map_update_elem(self.map, key, value.cast_mut().cast(), 0) == 0 }
    }

    /// False when there is such an entry already, or the table is full.
    #[inline(always)]
    pub fn put_new(&self, key: &K, value: *const V) -> bool {
        let key = core::ptr::from_ref(key).cast_mut().cast();
        unsafe { bpf_map_update_elem(self.map, key, value.cast_mut().cast(), 1) == 0 }
    }

    #[inline(always)]
    pub fn remove(&self, key: &K) {
        unsafe { bpf_map_delete_elem(self.map, core::ptr::from_ref(key).cast_mut().cast()) };
    }
}

#[inline(always)]
fn element<M, V>(map: *const M, index: u32) -> *mut V {
    unsafe {
        bpf_map_lookup_elem(map.cast_mut().cast(), (&raw const index).cast_mut().cast()).cast()
    }
}

/// The words of the policy in force; null before there is one.
#[inline(always)]
pub fn policy() -> *const u64 {
    let inner: *mut c_void = element(&raw const POLICY, 0);
    if inner.is_null() {
        return core::ptr::null();
    }
    element::<c_void, u64>(inner, 0)
}

#[inline(always)]
pub fn template() -> *const Template {
    element(&raw const TEMPLATE, 0)
}

/// Zero, of which the verifier does not know that it is: a loop counter that starts from it is a range
/// to the verifier, which else follows every single value.
#[inline(always)]
pub fn zero() -> usize {
    let template = template();
    if template.is_null() { 0 } else { unsafe { (*template).zero as usize } }
}

#[inline(always)]
pub fn key() -> *const [u64; 2] {
    element(&raw const KEY, 0)
}

#[inline(always)]
pub fn context(number: u32) -> *const ContextBytes {
    element(&raw const CONTEXTS, number)
}

#[inline(always)]
pub fn count(counter: Counter) {
    let cell: *mut u64 = element(&raw const COUNTERS, counter as u32);
    if !cell.is_null() {
        unsafe { *cell += 1 };
    }
}

/// A number that was never given before; 0 when there is none.
#[inline(always)]
pub fn next_id() -> u64 {
    let cell: *mut u64 = element(&raw const SEQUENCE, 0);
    if cell.is_null() {
        return 0;
    }
    // `AtomicU64::fetch_add` is not offered for a target without compare-and-swap.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(cell, 1) + 1 }
}

#[inline(always)]
pub fn last_wake() -> *mut u64 {
    element(&raw const LAST_WAKE, 0)
}

#[inline(always)]
pub fn events() -> *mut c_void {
    (&raw const EVENTS).cast_mut().cast()
}

#[inline(always)]
fn storage<M, V>(map: *const M, sk: Sock, value: *const V, flags: u64) -> *mut V {
    unsafe {
        bpf_sk_storage_get(map.cast_mut().cast(), sk.raw(), value.cast_mut().cast(), flags).cast()
    }
}

/// What is known of `sk`; null for nothing.
#[inline(always)]
pub fn sock_state(sk: Sock) -> *mut SockState {
    storage(&raw const SOCKS, sk, null_mut::<SockState>(), 0)
}

/// As [`sock_state`], made when missing; null when there is no memory.
#[inline(always)]
pub fn make_sock_state(sk: Sock) -> *mut SockState {
    storage(&raw const SOCKS, sk, null_mut::<SockState>(), BPF_SK_STORAGE_GET_F_CREATE as u64)
}

/// The trail with which `sk` starts.
#[inline(always)]
pub fn staged(sk: Sock) -> *mut Trail {
    storage(&raw const STAGED, sk, null_mut::<Trail>(), 0)
}

/// As [`staged`], made as a copy of `from` when missing.
#[inline(always)]
pub fn make_staged(sk: Sock, from: *const Trail) -> *mut Trail {
    storage(&raw const STAGED, sk, from, BPF_SK_STORAGE_GET_F_CREATE as u64)
}

impl SockState {
    #[inline(always)]
    pub fn asked(&self) -> hoptrail_core::Endpoint {
        hoptrail_core::Endpoint::new(self.asked, self.asked_port)
    }

    #[inline(always)]
    pub fn to(&self) -> hoptrail_core::Endpoint {
        hoptrail_core::Endpoint::new(self.to, self.to_port)
    }

    #[inline(always)]
    pub fn from(&self) -> hoptrail_core::Endpoint {
        hoptrail_core::Endpoint::new(self.from, self.from_port)
    }

    /// Key of what is known of this socket and `remote`.
    #[inline(always)]
    pub fn uid_and(&self, remote: hoptrail_core::Endpoint) -> SockRemote {
        SockRemote { sock: self.uid, ip: remote.ip, port: remote.port as u64 }
    }
}
