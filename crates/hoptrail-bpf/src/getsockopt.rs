//! getsockopt(2): records, context, sizes, version, and the original destination for proxies that
//! know nothing of records.

use crate::accept::{self, Found, Missing};
use crate::ctx::{ALLOW, Sock, Sockopt, refuse};
use crate::maps;
use crate::policy::{KernelImage, repeat, settled};
use core::mem::offset_of;
use hoptrail_core::abi;
use hoptrail_core::addr::Ip;
use hoptrail_core::context::{
    ContextHeader, HEADER_BYTES as CONTEXT_HEADER, MAX_PROVIDER_BYTES, VERSION as CONTEXT_VERSION,
    padded,
};
use hoptrail_core::image::{Image, at};
use hoptrail_core::records::{
    Hop, MAGIC, MAX_BLOB_BYTES, MAX_HOPS, TAGGED_FROM, VERSION, blob_bytes,
};
use hoptrail_core::shared::{ExeKey, ExePath, PATH_END};
use hoptrail_core::siphash::SipHash;
use hoptrail_core::{Trail, TrailHeader};

const ERANGE: i32 = 34;
const ENODATA: i32 = 61;
const ENOTCONN: i32 = 107;
const EINVAL: i32 = 22;
const ENOPROTOOPT: i32 = 92;
const EOPNOTSUPP: i32 = 95;

const IPPROTO_IP: i32 = 0;
const IPPROTO_IPV6: i32 = 41;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Where the trail's `adopted` is: the kernel side's own business, zero in a blob.
const ADOPTED_WORD: usize = offset_of!(TrailHeader, adopted) & !7;
const ADOPTED_MASK: u64 = 0xffff_ffff << (8 * (offset_of!(TrailHeader, adopted) & 7));

/// Longer values than a page are passed on uncopied; the kernel asks for length 0 then.
const PAGE: i32 = 4096;

#[inline(always)]
pub fn run(ctx: Sockopt) -> i32 {
    let (level, name) = (ctx.level(), ctx.name());
    let ours = level == abi::SOL_HOPTRAIL;
    let original = name == abi::SO_ORIGINAL_DST && (level == IPPROTO_IP || level == IPPROTO_IPV6);
    if !ours && !original {
        if ctx.length() > PAGE {
            ctx.set_length(0);
        }
        return ALLOW;
    }
    let Some(sk) = ctx.sock() else {
        return ALLOW;
    };
    // Not negative: an engine on a cgroup below this one has answered, or the kernel itself.
    if sk.protocol().is_none() || ctx.result() >= 0 {
        // The kernel's own answer stands: no such option.
        return ALLOW;
    }
    if original { original_destination(ctx, sk, level) } else { option(ctx, sk, name) }
}

#[inline(always)]
fn option(ctx: Sockopt, sk: Sock, name: i32) -> i32 {
    if name == abi::REDIRECT_VERSION {
        return version(ctx);
    }
    if !(abi::REDIRECT_RECORDS..=abi::REDIRECT_CONTEXT_SIZE).contains(&name) {
        return refuse(ENOPROTOOPT);
    }
    let found = match accept::find(ctx, sk) {
        Ok(found) => found,
        // An engine below has found as little, and said so.
        Err(_) if ctx.result() != -ENOPROTOOPT && ctx.result() != -EOPNOTSUPP => return ALLOW,
        Err(Missing::NotConnected) => return refuse(ENOTCONN),
        Err(Missing::NoRecords) => return refuse(ENODATA),
    };
    accept::note_asked(found.id);
    let hops = unsafe { (*found.trail).header.hops };
    if hops == 0 || hops as usize > MAX_HOPS {
        return refuse(ENODATA);
    }
    let hop = unsafe { &raw const (*found.trail).hops[(hops - 1) as usize & 15] };
    match name {
        abi::REDIRECT_RECORDS => records(ctx, found.trail, hops),
        abi::REDIRECT_RECORDS_SIZE => number(ctx, blob_bytes(hops) as u32),
        abi::REDIRECT_CONTEXT => context(ctx, found.trail, hop),
        _ => number(ctx, Parts::of(found.trail, hop).length() as u32),
    }
}

#[inline(always)]
fn done(ctx: Sockopt, length: usize) -> i32 {
    ctx.set_length(length as i32);
    ctx.succeed();
    ALLOW
}

#[inline(always)]
fn number(ctx: Sockopt, number: u32) -> i32 {
    if ctx.write(0, number) { done(ctx, 4) } else { refuse(ERANGE) }
}

#[inline(always)]
fn version(ctx: Sockopt) -> i32 {
    let generation = KernelImage::current().map_or(0, |image| image.word(at::GENERATION));
    if ctx.write(8, generation) && ctx.write(0, abi::ABI_VERSION as u64) {
        return done(ctx, 16);
    }
    refuse(ERANGE)
}

/// The blob: the words behind the tag are copied and hashed in one go, then the head is written.
#[inline(always)]
fn records(ctx: Sockopt, trail: *const Trail, hops: u8) -> i32 {
    let length = blob_bytes(hops);
    let key = maps::key();
    if key.is_null() {
        return refuse(EINVAL);
    }
    if ctx.length() < length as i32 {
        return refuse(ERANGE);
    }
    let mut hash = SipHash::new(unsafe { *key });
    let mut at = TAGGED_FROM + maps::zero();
    repeat((MAX_BLOB_BYTES / 8) as u32, || {
        if at >= length || at > MAX_BLOB_BYTES - 8 {
            return false;
        }
        let here = settled(at);
        let mut word = unsafe { trail.cast::<u8>().add(here).cast::<u64>().read() };
        if here == ADOPTED_WORD {
            word &= !ADOPTED_MASK;
        }
        hash.word(word);
        at = here + 8;
        ctx.write(here, word)
    });
    let tag = hash.finish();
    let head = MAGIC as u64 | (VERSION as u64) << 32 | (length as u64) << 48;
    if ctx.write(16, tag[1]) && ctx.write(8, tag[0]) && ctx.write(0, head) {
        return done(ctx, length);
    }
    refuse(ERANGE)
}

/// The variable parts of a context.
struct Parts {
    path: *const ExePath,
    path_start: usize,
    path_bytes: usize,
    provider: *const u8,
    provider_bytes: usize,
}

impl Parts {
    #[inline(always)]
    fn of(trail: *const Trail, hop: *const Hop) -> Self {
        let header = unsafe { &raw const (*trail).header };
        let key = unsafe { ExeKey { ino: (*header).exe_ino, dev: (*header).exe_dev as u64 } };
        let path: *const ExePath = maps::paths().get(&key);
        let start = if path.is_null() { PATH_END } else { unsafe { (*path).start as usize } };
        let start = if start != 0 && start < PATH_END { start } else { PATH_END };
        let number = unsafe { (*hop).context };
        let bytes = maps::context(number);
        let (provider, length) = if number == 0 || bytes.is_null() {
            (core::ptr::null(), 0)
        } else {
            unsafe { ((&raw const (*bytes).bytes).cast::<u8>(), (*bytes).length as usize) }
        };
        let provider_bytes = if length <= MAX_PROVIDER_BYTES { length } else { 0 };
        Self { path, path_start: start, path_bytes: PATH_END - start, provider, provider_bytes }
    }

    #[inline(always)]
    fn length(&self) -> usize {
        CONTEXT_HEADER + padded(self.path_bytes) + padded(self.provider_bytes)
    }
}

#[inline(always)]
fn context(ctx: Sockopt, trail: *const Trail, hop: *const Hop) -> i32 {
    let parts = Parts::of(trail, hop);
    let length = parts.length();
    if ctx.length() < length as i32 {
        return refuse(ERANGE);
    }
    let header = unsafe { context_header(trail, hop, &parts) };
    if !ctx.write(0, header) {
        return refuse(ERANGE);
    }
    let path_end = CONTEXT_HEADER + padded(parts.path_bytes);
    let copied = if parts.path.is_null() {
        true
    } else {
        // Behind the path there are zeroes: they are the padding.
        let from = unsafe { (&raw const (*parts.path).bytes).cast::<u8>() };
        let start = parts.path_start & 0xff;
        append(ctx, CONTEXT_HEADER, parts.path_bytes, |at| unsafe {
            from.add(start + at).cast::<u64>().read_unaligned()
        })
    };
    if !copied {
        return refuse(ERANGE);
    }
    let copied = parts.provider.is_null()
        || append(ctx, path_end, parts.provider_bytes, |at| unsafe {
            parts.provider.add(at).cast::<u64>().read()
        });
    if copied { done(ctx, length) } else { refuse(ERANGE) }
}

/// Writes `bytes` bytes, at most 256, in whole words at `to`.
#[inline(always)]
fn append(ctx: Sockopt, to: usize, bytes: usize, word: impl Fn(usize) -> u64) -> bool {
    let mut at = maps::zero();
    let mut room = true;
    repeat((PATH_END / 8) as u32, || {
        if at >= bytes || at > PATH_END - 8 {
            return false;
        }
        let here = settled(at);
        at = here + 8;
        room = ctx.write((to & 0x3ff) + here, word(here));
        room
    });
    room
}

#[inline(always)]
unsafe fn context_header(trail: *const Trail, hop: *const Hop, parts: &Parts) -> ContextHeader {
    let header = unsafe { &(*trail).header };
    let hop = unsafe { &*hop };
    ContextHeader {
        version: CONTEXT_VERSION,
        length: parts.length() as u16,
        protocol: header.protocol,
        hop: header.hops,
        flags: hop.flags,
        handle: hop.handle,
        pid: header.pid,
        uid: header.uid,
        gid: header.gid,
        exe_dev: header.exe_dev,
        start_ns: header.start_ns,
        exe_ino: header.exe_ino,
        cgroup: header.cgroup,
        destination: hop.asked,
        local: hop.from,
        destination_port: hop.asked_port,
        local_port: hop.from_port,
        path_bytes: parts.path_bytes as u16,
        provider_bytes: parts.provider_bytes as u16,
        name: header.name,
    }
}

/// `struct sockaddr_in` or `sockaddr_in6` of what the redirected connect had asked for.
#[inline(always)]
fn original_destination(ctx: Sockopt, sk: Sock, level: i32) -> i32 {
    let Ok(Found { trail, id }) = accept::find(ctx, sk) else {
        return ALLOW;
    };
    if id == 0 {
        return ALLOW;
    }
    accept::note_asked(id);
    let hops = unsafe { (*trail).header.hops };
    let hop = unsafe { &raw const (*trail).hops[hops.wrapping_sub(1) as usize & 15] };
    let asked = unsafe { (*hop).asked() };
    let port = (asked.port.to_be() as u32) << 16;
    if level == IPPROTO_IP {
        // An IPv6 destination has no IPv4 form: the kernel's own answer stands.
        if !asked.ip.is_v4() {
            return ALLOW;
        }
        let fits = ctx.write(0, AF_INET as u32 | port)
            && ctx.write(4, asked.ip.v4_word())
            && ctx.write(8, 0u64);
        return if fits { done(ctx, 16) } else { refuse(EINVAL) };
    }
    let ip: Ip = asked.ip;
    let fits = ctx.write(0, AF_INET6 as u32 | port)
        && ctx.write(4, 0u32)
        && ctx.write(8, ip.words()[0])
        && ctx.write(12, ip.words()[1])
        && ctx.write(16, ip.words()[2])
        && ctx.write(20, ip.words()[3])
        && ctx.write(24, 0u32);
    if fits { done(ctx, 28) } else { refuse(EINVAL) }
}
