//! setsockopt(2): a proxy sets records on the socket with which it will dial, or names the UDP peer
//! that it means.

use crate::ctx::{ALLOW, Sock, Sockopt, accept_call, refuse};
use crate::maps::{self, Remote, SockState, ThreadSock, sock_flag};
use crate::phases;
use crate::policy::{KernelImage, repeat, settled};
use crate::task;
use hoptrail_core::abi;
use hoptrail_core::decide::Walk;
use hoptrail_core::records::{
    HEADER_BYTES, HOP_BYTES, MAGIC, MAX_BLOB_BYTES, MAX_HOPS, TAGGED_FROM, VERSION, blob_bytes,
};
use hoptrail_core::shared::Counter;
use hoptrail_core::siphash::SipHash;
use hoptrail_core::{Ip, Protocol, Trail};

const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENOPROTOOPT: i32 = 92;
const EISCONN: i32 = 106;
const ENOBUFS: i32 = 105;
const EOPNOTSUPP: i32 = 95;

const TCP_CLOSE: u32 = 7;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// `sizeof(struct sockaddr_in)`.
const SOCKADDR_IN: i32 = 16;
/// `struct sockaddr_in6` without the scope, as the kernel itself takes it (SIN6_LEN_RFC2133).
const SOCKADDR_IN6: i32 = 24;
const PAGE: i32 = 4096;
/// Words of the longest blob.
const BLOB_WORDS: u32 = (MAX_BLOB_BYTES / 8) as u32;
/// Do not go on to the kernel's own setsockopt.
const HANDLED: i32 = -1;

#[inline(always)]
pub fn run(ctx: Sockopt) -> i32 {
    if ctx.level() != abi::SOL_HOPTRAIL {
        if ctx.length() > PAGE {
            ctx.set_length(0);
        }
        return ALLOW;
    }
    let Some(sk) = ctx.sock() else {
        return ALLOW;
    };
    // An engine on a cgroup below this one has taken it.
    if sk.protocol().is_none() || ctx.length() == HANDLED {
        return ALLOW;
    }
    let outcome = match ctx.name() {
        abi::REDIRECT_RECORDS => records(ctx, sk),
        abi::REDIRECT_PEER => peer(ctx, sk),
        _ => Err(ENOPROTOOPT),
    };
    match outcome {
        Ok(()) => {
            ctx.set_length(HANDLED);
            accept_call();
            ALLOW
        }
        Err(errno) => refuse(errno),
    }
}

#[inline(always)]
fn records(ctx: Sockopt, sk: Sock) -> Result<(), i32> {
    let outcome = set(ctx, sk);
    maps::count(match outcome {
        Ok(()) => Counter::RecordsSet,
        Err(_) => Counter::RecordsRefused,
    });
    outcome
}

/// Everything is checked before anything is changed: a refused blob leaves the socket as it was.
#[inline(always)]
fn set(ctx: Sockopt, sk: Sock) -> Result<(), i32> {
    let udp = match sk.protocol() {
        Some(Protocol::Tcp) if sk.state() != TCP_CLOSE => return Err(EISCONN),
        Some(protocol) => protocol as u8 == Protocol::Udp as u8,
        None => return Err(EOPNOTSUPP),
    };
    let (length, handle) = check(ctx)?;
    let image = KernelImage::current().ok_or(EACCES)?;
    let mut walk = Walk::new();
    phases::identify(image, &mut walk);
    if phases::ht_is_member(image.raw(), walk.members(), handle) == 0 {
        return Err(EACCES);
    }
    let state = maps::make_sock_state(sk);
    if state.is_null() {
        return Err(ENOBUFS);
    }
    let (trail, flag) = place(sk, state, udp)?;
    copy(ctx, trail, length);
    unsafe { (*state).flags |= flag };
    Ok(())
}

/// Where the trail goes: to the socket, or for UDP to the destination that the thread has named.
#[inline(always)]
fn place(sk: Sock, state: *mut SockState, udp: bool) -> Result<(*mut Trail, u32), i32> {
    let template = maps::template();
    if template.is_null() {
        return Err(ENOBUFS);
    }
    let empty = unsafe { &raw const (*template).trail };
    if udp {
        let key = ThreadSock { thread: task::thread(), sock: unsafe { (*state).uid } };
        let selected = maps::selected().get(&key);
        if !selected.is_null() {
            let remote =
                unsafe { hoptrail_core::Endpoint::new((*selected).ip, (*selected).port as u16) };
            let key = unsafe { (*state).uid_and(remote) };
            // What was decided for the destination was decided with the records before these.
            maps::flows().remove(&key);
            maps::destinations().put(&key, empty);
            let trail = maps::destinations().get(&key);
            return if trail.is_null() {
                Err(ENOBUFS)
            } else {
                Ok((trail, sock_flag::DESTINATIONS))
            };
        }
    }
    let trail = maps::make_staged(sk, empty);
    if trail.is_null() { Err(ENOBUFS) } else { Ok((trail, sock_flag::STAGED)) }
}

/// The blob's length and the handle of its last hop, if it is one that this kernel side made.
#[inline(always)]
fn check(ctx: Sockopt) -> Result<(usize, u64), i32> {
    let head: u64 = ctx.read(0).ok_or(EINVAL)?;
    let length = (head >> 48) as usize;
    let hops: u8 = ctx.read(40).ok_or(EINVAL)?;
    let fits = head as u32 == MAGIC
        && (head >> 32) as u16 == VERSION
        && hops >= 1
        && hops as usize <= MAX_HOPS
        && length == blob_bytes(hops)
        && ctx.length() == length as i32;
    if !fits {
        return Err(EINVAL);
    }
    let key = maps::key();
    if key.is_null() {
        return Err(EINVAL);
    }
    let mut hash = SipHash::new(unsafe { *key });
    let last_hop = HEADER_BYTES + (hops as usize - 1) * HOP_BYTES;
    let mut handle = 0;
    let mut at = TAGGED_FROM + maps::zero();
    repeat(BLOB_WORDS, || {
        if at >= length || at > MAX_BLOB_BYTES - 8 {
            return false;
        }
        let here = settled(at);
        let Some(word) = ctx.read::<u64>(here) else {
            return false;
        };
        hash.word(word);
        if here == last_hop {
            handle = word;
        }
        at = here + 8;
        true
    });
    if at != length {
        return Err(EINVAL);
    }
    let tag = hash.finish();
    let given: [u64; 2] = [ctx.read(8).ok_or(EINVAL)?, ctx.read(16).ok_or(EINVAL)?];
    // Differences are summed up before they are judged, so that time does not tell where they are.
    if (tag[0] ^ given[0]) | (tag[1] ^ given[1]) != 0 {
        return Err(EINVAL);
    }
    Ok((length, handle))
}

#[inline(always)]
fn copy(ctx: Sockopt, trail: *mut Trail, length: usize) {
    let mut at = maps::zero();
    repeat(BLOB_WORDS, || {
        if at >= length || at > MAX_BLOB_BYTES - 8 {
            return false;
        }
        let here = settled(at);
        let Some(word) = ctx.read::<u64>(here) else {
            return false;
        };
        unsafe { trail.cast::<u8>().add(here).cast::<u64>().write(word) };
        at = here + 8;
        true
    });
}

/// A `struct sockaddr_in` or `sockaddr_in6`, or nothing to clear the choice.
#[inline(always)]
fn peer(ctx: Sockopt, sk: Sock) -> Result<(), i32> {
    match sk.protocol() {
        Some(Protocol::Udp) => {}
        _ => return Err(EOPNOTSUPP),
    }
    let state = maps::make_sock_state(sk);
    if state.is_null() {
        return Err(ENOBUFS);
    }
    name_sock(state);
    let key = ThreadSock { thread: task::thread(), sock: unsafe { (*state).uid } };
    if ctx.length() == 0 {
        maps::selected().remove(&key);
        return Ok(());
    }
    let family: u16 = ctx.read(0).ok_or(EINVAL)?;
    // The buffer has room for 16 bytes however few were given.
    let needed = if family == AF_INET { SOCKADDR_IN } else { SOCKADDR_IN6 };
    if ctx.length() < needed {
        return Err(EINVAL);
    }
    let port: u16 = ctx.read(2).ok_or(EINVAL)?;
    let ip = match family {
        AF_INET => Ip::from_v4_word(ctx.read(4).ok_or(EINVAL)?),
        AF_INET6 => Ip::from_words([
            ctx.read(8).ok_or(EINVAL)?,
            ctx.read(12).ok_or(EINVAL)?,
            ctx.read(16).ok_or(EINVAL)?,
            ctx.read(20).ok_or(EINVAL)?,
        ]),
        _ => return Err(EINVAL),
    };
    let remote = Remote { ip, port: u16::from_be(port) as u64 };
    if maps::selected().put(&key, &remote) { Ok(()) } else { Err(ENOBUFS) }
}

/// Gives the socket the identity by which tables know it.
#[inline(always)]
pub fn name_sock(state: *mut SockState) {
    unsafe {
        if (*state).uid == 0 {
            (*state).uid = maps::next_id();
        }
    }
}
