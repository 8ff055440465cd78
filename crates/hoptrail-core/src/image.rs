//! The compiled policy: one flat array of 64-bit words that the kernel holds as a single map value
//! and swaps atomically. Written by [`crate::compile`], read here and only here.
//!
//! Every condition dimension maps the connection's value to a *set* of filters. Filters are numbered
//! in the order in which they are asked, so the first common bit of all sets is the answer.
//!
//! A set is a summary word (bit *w* says that word *w* of 64 follows) and then the words that are not
//! zero: most sets are sparse, and their intersection touches only words that all of them have.

use crate::addr::{Endpoint, Ip};
use crate::bits::{below, ones};

/// Words of an image: 2 MiB, which holds 4,096 filters with some 16,000 distinct prefixes.
pub const IMAGE_WORDS: usize = 1 << 18;
/// Most filters of a policy, all providers together.
pub const MAX_FILTERS: usize = 4096;
/// Most providers of a policy.
pub const MAX_PROVIDERS: usize = 64;
/// Deepest cgroup level that conditions and members can name.
pub const MAX_CGROUP_LEVEL: u32 = 31;

/// "HTPOLICY".
pub const MAGIC: u64 = u64::from_be_bytes(*b"HTPOLICY");

/// Word positions of the header.
pub mod at {
    #![allow(missing_docs)]
    pub const MAGIC: u32 = 0;
    pub const GENERATION: u32 = 1;
    pub const FLAGS: u32 = 2;
    /// providers | filters << 32
    pub const COUNTS: u32 = 3;
    /// Bit n: some configured cgroup is at level n.
    pub const CGROUP_LEVELS: u32 = 4;
    /// Four sets: tcp, udp, tcp to loopback, udp to loopback.
    pub const KIND_SETS: u32 = 5;
    /// Tables: offset | count << 32.
    pub const V4: u32 = 9;
    pub const V6: u32 = 10;
    pub const PORTS: u32 = 11;
    /// Hash tables: offset | mask << 32, then the sets for a miss.
    pub const EXE: u32 = 12;
    pub const EXE_MISS: u32 = 13;
    pub const USER: u32 = 14;
    pub const USER_MISS: u32 = 15;
    pub const CGROUP: u32 = 16;
    pub const CGROUP_MISS: u32 = 17;
    pub const HANDLES: u32 = 18;
    pub const PROVIDERS: u32 = 19;
    pub const FILTERS: u32 = 20;
    /// Words in use.
    pub const LENGTH: u32 = 21;
    /// The empty set.
    pub const EMPTY: u32 = 22;
    pub const HEADER_WORDS: u32 = 23;
}

/// Header flags: which properties of a process the policy needs at all.
pub mod flag {
    /// Some condition or membership names an executable.
    pub const NEEDS_EXE: u64 = 1;
    /// Some condition or membership names a user.
    pub const NEEDS_USER: u64 = 2;
    /// Some condition or membership names a cgroup.
    pub const NEEDS_CGROUP: u64 = 4;
}

/// Probes of a hash table; the compiler grows a table until every key is found within them.
pub const PROBES: u32 = 8;
/// Words of a hash-table entry: key, key, sets, members.
pub const ENTRY_WORDS: u32 = 4;
/// In an entry's third word: the slot is taken.
pub const TAKEN: u64 = 1 << 63;
/// Words of a provider.
pub const PROVIDER_WORDS: u32 = 10;

/// Word positions in a provider.
pub mod provider_at {
    #![allow(missing_docs)]
    pub const HANDLE: u32 = 0;
    /// first filter | end filter << 16 | context << 32
    pub const FILTERS: u32 = 1;
    /// [`super::provider_flag`] | IPv4 listener's port << 16 | IPv6 listener's port << 32
    pub const FLAGS: u32 = 2;
    /// Listener addresses, two words each as [`crate::Ip`] in memory.
    pub const V4: u32 = 3;
    pub const V6: u32 = 5;
    /// The GUID, two words.
    pub const GUID: u32 = 7;
}

/// Flags of a provider.
pub mod provider_flag {
    /// Has an IPv4 listener.
    pub const V4: u64 = 1;
    /// Has an IPv6 listener.
    pub const V6: u64 = 2;
    /// `on-unavailable = "bypass"`.
    pub const BYPASS: u64 = 4;
}

/// What a filter does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Action {
    /// This provider lets it pass; the next one is asked.
    Permit = 0,
    /// Refuse, whatever the others say.
    Block = 1,
    /// Send it to the provider's listener.
    Redirect = 2,
}

impl Action {
    /// `permit`, `block` or `redirect`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Block => "block",
            Self::Redirect => "redirect",
        }
    }
}

/// A place that holds an image. The kernel's is a map value, everybody else's a slice.
pub trait Image {
    /// The word at `index`; zero beyond the end.
    fn word(&self, index: u32) -> u64;

    /// Calls `body` up to `times` times until it returns false. The kernel's way is `bpf_loop`, whose
    /// body is verified once however often it runs.
    #[inline(always)]
    fn repeat(&self, times: u32, mut body: impl FnMut() -> bool) {
        for _ in 0..times {
            if !body() {
                break;
            }
        }
    }
}

impl Image for [u64] {
    fn word(&self, index: u32) -> u64 {
        self.get(index as usize).copied().unwrap_or(0)
    }
}

#[cfg(feature = "compile")]
impl Image for alloc::vec::Vec<u64> {
    fn word(&self, index: u32) -> u64 {
        self.as_slice().word(index)
    }
}

/// Word `w` (0 to 63) of the set at `set`, whose summary must have that bit.
#[inline(always)]
pub(crate) fn set_word<I: Image + ?Sized>(image: &I, set: u32, w: u32) -> u64 {
    image.word(set + 1 + ones(image.word(set) & below(w)))
}

/// The set of the greatest interval start that is not above `key`, which is compared by `above`.
#[inline(always)]
fn interval<I: Image + ?Sized>(
    image: &I,
    table: u64,
    words: u32,
    above: impl Fn(&I, u32) -> bool,
) -> u32 {
    let base = table as u32;
    let (mut low, mut high) = (0u32, (table >> 32) as u32);
    // An interval takes at least a word, so this many halvings are enough for every image.
    image.repeat(IMAGE_WORDS.ilog2(), || {
        if high - low <= 1 {
            return false;
        }
        let middle = low + (high - low) / 2;
        if above(image, base + middle * words) {
            high = middle;
        } else {
            low = middle;
        }
        true
    });
    base + low * words
}

/// The set of filters whose remote condition holds for `ip`.
#[inline(always)]
pub(crate) fn remote_set<I: Image + ?Sized>(image: &I, ip: Ip) -> u32 {
    if ip.is_v4() {
        let key = ip.v4_number();
        let entry =
            interval(image, image.word(at::V4), 1, |image, i| (image.word(i) >> 32) as u32 > key);
        return image.word(entry) as u32;
    }
    let (high, low) = (ip.high(), ip.low());
    let entry = interval(image, image.word(at::V6), 3, |image, i| {
        let start = image.word(i);
        start > high || (start == high && image.word(i + 1) > low)
    });
    image.word(entry + 2) as u32
}

/// The set of filters whose port condition holds for `port`.
#[inline(always)]
pub(crate) fn port_set<I: Image + ?Sized>(image: &I, port: u16) -> u32 {
    let entry = interval(image, image.word(at::PORTS), 1, |image, i| {
        (image.word(i) >> 32) as u32 > u32::from(port)
    });
    image.word(entry) as u32
}

/// Into how many pieces the policy cuts the IPv4 addresses, the IPv6 addresses and the ports.
pub fn intervals<I: Image + ?Sized>(image: &I) -> [u32; 3] {
    [at::V4, at::V6, at::PORTS].map(|table| (image.word(table) >> 32) as u32)
}

/// What a hash table knows of a key.
#[derive(Clone, Copy, Default)]
pub struct Entry {
    /// Set of the filters whose condition holds | set for the same value as original << 31.
    pub sets: u64,
    /// Providers as whose proxy a process with this value may act.
    pub members: u64,
    /// Whether the key was there; false gives the sets for a miss.
    pub found: bool,
}

/// Of [`Entry::sets`]: filters whose condition on the connecting process holds.
#[inline(always)]
#[must_use]
pub const fn own_set(sets: u64) -> u32 {
    (sets & 0x7fff_ffff) as u32
}

/// Of [`Entry::sets`]: filters whose condition on the original process holds.
#[inline(always)]
#[must_use]
pub const fn original_set(sets: u64) -> u32 {
    ((sets >> 31) & 0x7fff_ffff) as u32
}

/// Where a key belongs in a table of `mask + 1` slots.
#[inline(always)]
#[must_use]
pub const fn slot(key: [u64; 2], mask: u32) -> u32 {
    let mixed = (key[0] ^ key[1].rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32 & mask
}

/// Looks `key` up in the hash table described at header word `table`, whose next word is for a miss.
#[inline(always)]
pub(crate) fn hash_entry<I: Image + ?Sized>(image: &I, table: u32, key: [u64; 2]) -> Entry {
    let description = image.word(table);
    let (base, mask) = (description as u32, (description >> 32) as u32);
    let mut at = slot(key, mask);
    let mut entry = Entry { sets: image.word(table + 1), members: 0, found: false };
    image.repeat(PROBES, || {
        let i = base + at * ENTRY_WORDS;
        let sets = image.word(i + 2);
        if sets & TAKEN == 0 {
            return false;
        }
        if image.word(i) == key[0] && image.word(i + 1) == key[1] {
            entry = Entry { sets, members: image.word(i + 3), found: true };
            return false;
        }
        at = (at + 1) & mask;
        true
    });
    entry
}

/// A provider, by its number in the order of asking.
#[derive(Clone, Copy)]
pub struct ProviderAt(u32);

impl ProviderAt {
    /// Provider number `index`.
    #[inline(always)]
    #[must_use]
    pub fn new<I: Image + ?Sized>(image: &I, index: u32) -> Self {
        Self(image.word(at::PROVIDERS) as u32 + index * PROVIDER_WORDS)
    }

    /// Its redirect handle.
    #[inline(always)]
    #[must_use]
    pub fn handle<I: Image + ?Sized>(self, image: &I) -> u64 {
        image.word(self.0 + provider_at::HANDLE)
    }

    /// Number of its first filter, and the number after its last.
    #[inline(always)]
    #[must_use]
    pub fn filters<I: Image + ?Sized>(self, image: &I) -> (u32, u32) {
        let word = image.word(self.0 + provider_at::FILTERS);
        ((word & 0xffff) as u32, ((word >> 16) & 0xffff) as u32)
    }

    /// Number of its context bytes; 0 for none.
    #[inline(always)]
    #[must_use]
    pub fn context<I: Image + ?Sized>(self, image: &I) -> u32 {
        (image.word(self.0 + provider_at::FILTERS) >> 32) as u32
    }

    /// Whether it says `on-unavailable = "bypass"`.
    #[inline(always)]
    #[must_use]
    pub fn bypasses<I: Image + ?Sized>(self, image: &I) -> bool {
        image.word(self.0 + provider_at::FLAGS) & provider_flag::BYPASS != 0
    }

    /// Whether it has a listener for destinations of that family.
    #[inline(always)]
    #[must_use]
    pub fn listens<I: Image + ?Sized>(self, image: &I, v4: bool) -> bool {
        let has = if v4 { provider_flag::V4 } else { provider_flag::V6 };
        image.word(self.0 + provider_at::FLAGS) & has != 0
    }

    /// Whether `remote` is its listener of that family.
    #[inline(always)]
    #[must_use]
    pub fn listens_at<I: Image + ?Sized>(self, image: &I, v4: bool, remote: &Endpoint) -> bool {
        let (a, b, port) = self.listener_words(image, v4);
        if port != remote.port || !self.listens(image, v4) {
            return false;
        }
        let words = remote.ip.reached().words();
        a as u32 == words[0]
            && (a >> 32) as u32 == words[1]
            && b as u32 == words[2]
            && (b >> 32) as u32 == words[3]
    }

    /// Its listener of that family, which it must have: the address in two words as [`Ip`] in memory,
    /// and the port.
    #[inline(always)]
    #[must_use]
    pub fn listener_words<I: Image + ?Sized>(self, image: &I, v4: bool) -> (u64, u64, u16) {
        let (at, shift) = if v4 { (provider_at::V4, 16) } else { (provider_at::V6, 32) };
        let port = (image.word(self.0 + provider_at::FLAGS) >> shift) as u16;
        (image.word(self.0 + at), image.word(self.0 + at + 1), port)
    }

    /// Its listener for destinations of that family.
    #[inline(always)]
    #[must_use]
    pub fn listener<I: Image + ?Sized>(self, image: &I, v4: bool) -> Option<Endpoint> {
        if !self.listens(image, v4) {
            return None;
        }
        let (a, b, port) = self.listener_words(image, v4);
        let words = [a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32];
        Some(Endpoint::new(Ip::from_words(words), port))
    }
}

/// The provider that has this redirect handle, by its number.
#[inline(always)]
pub fn provider_of_handle<I: Image + ?Sized>(image: &I, handle: u64) -> Option<u32> {
    let entry = hash_entry(image, at::HANDLES, [handle, 0]);
    entry.found.then_some(entry.members as u32)
}
