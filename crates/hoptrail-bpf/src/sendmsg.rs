//! sendto(2) and sendmsg(2) of UDP with an address: a flow is a socket and a remote.
//!
//! The proxy tells flows apart by their source address. A socket's first flow through a listener keeps
//! the socket's own; each further one gets an alias, and so does the source of its replies, by which
//! the client's side tells which remote is answering.

use crate::adopt;
use crate::ctx::{ALLOW, SockAddr, refuse};
use crate::issue::{self, Issued};
use crate::maps::{self, Decided, Peer, Remote, SockState, sock_flag};
use crate::phases::ht_classify;
use crate::policy::KernelImage;
use crate::setsockopt::name_sock;
use crate::verdict::{Carried, Judged, Leg, judge, reached, redirected, refusal};
use hoptrail_core::decide::{Flow, Walk};
use hoptrail_core::image::{Action, Image, ProviderAt, at};
use hoptrail_core::reason::Reason;
use hoptrail_core::shared::Counter;
use hoptrail_core::{Endpoint, Ip, Protocol};

#[inline(always)]
pub fn run(ctx: SockAddr) -> i32 {
    let (Some(Protocol::Udp), Some(image), Some(sk)) =
        (ctx.protocol(), KernelImage::current(), ctx.sock())
    else {
        return ALLOW;
    };
    let leg = Leg { image, ctx, sk, flow: Flow { protocol: Protocol::Udp, remote: ctx.address() } };
    if is_alias(leg.remote().ip) && reply(&leg) {
        return ALLOW;
    }
    let mut state = maps::sock_state(sk);
    if as_connected(&leg, state) {
        return ALLOW;
    }
    // Before the policy is asked: a redirected flow stays redirected under every later one.
    if !state.is_null() && unsafe { (*state).flags } & sock_flag::FLOWS != 0 {
        let flow = flow_of(&leg, state);
        if !flow.is_null() && known(&leg, state, flow) {
            return ALLOW;
        }
    }
    let mut walk = Walk::new();
    if ht_classify(image.raw(), &mut walk, &leg.flow) == 0 {
        return ALLOW;
    }
    maps::count(Counter::Considered);
    if answers(&leg) {
        return ALLOW;
    }
    if state.is_null() {
        state = maps::make_sock_state(sk);
        if state.is_null() {
            return refuse(ENOBUFS);
        }
    }
    name_sock(state);
    decide(&leg, &mut walk, state)
}

/// Whether the datagram belongs to what the socket is connected to, which was decided at its connect.
///
/// An IPv6 socket that is connected to an IPv4-mapped address comes here with every send, with the
/// address that its connect was given. Any connected socket does with a sendto that names its peer
/// again: for a redirected one that is what it had asked for.
#[inline(never)]
fn as_connected(leg: &Leg, state: *const SockState) -> bool {
    let connected = leg.sk.remote();
    let remote = leg.remote();
    if connected.port == 0 {
        return false;
    }
    if connected == remote {
        return true;
    }
    if state.is_null() || unsafe { (*state).flags } & sock_flag::ISSUED == 0 {
        return false;
    }
    let (asked, to) = unsafe { ((*state).asked(), (*state).to()) };
    if connected != to || remote != asked {
        return false;
    }
    leg.ctx.set_address(to);
    true
}

/// The first datagram of a flow, or the first under a new policy.
#[inline(always)]
fn decide(leg: &Leg, walk: &mut Walk, state: *mut SockState) -> i32 {
    if bound_to_device(leg) {
        walk.reaches_no_listener();
    }
    let mut judged = judge(leg, walk, Carried::declared(leg, state));
    let done = match judged.verdict.action {
        Action::Permit => {
            reached(leg, &judged);
            pass(leg, state);
            true
        }
        Action::Block => false,
        Action::Redirect => {
            let applied = redirect(leg, &mut judged, state);
            if applied {
                redirected(leg, &judged);
            }
            applied
        }
    };
    if done { ALLOW } else { refuse(refusal(leg, &judged)) }
}

/// `lo` has this index in every network namespace.
const LOOPBACK_DEVICE: u32 = 1;

/// Whether the socket is bound to a device: then the proxy's loopback address cannot be reached, since
/// the route's device is fixed before this hook.
#[inline(always)]
fn bound_to_device(leg: &Leg) -> bool {
    leg.sk.device() > LOOPBACK_DEVICE
}

const ENOBUFS: i32 = 105;

/// Remembers a flow that was let through: it is decided again under the next policy.
#[inline(never)]
fn pass(leg: &Leg, state: *mut SockState) {
    let none = Ip::from_words([0; 4]);
    let flow = Decided {
        id: 0,
        generation: leg.image.word(at::GENERATION),
        to: none,
        alias: none,
        to_port: 0,
        sent: 0,
    };
    keep(leg, state, &flow);
}

#[inline(never)]
fn flow_of(leg: &Leg, state: *const SockState) -> *mut Decided {
    maps::flows().get(&unsafe { (*state).uid_and(leg.remote()) })
}

/// Sends a datagram of a decided flow on its way; false when it must be decided again.
#[inline(always)]
fn known(leg: &Leg, state: *const SockState, flow: *mut Decided) -> bool {
    let decided = unsafe { &mut *flow };
    if decided.id == 0 {
        return decided.generation == leg.image.word(at::GENERATION);
    }
    if bound_to_device(leg) {
        return false;
    }
    decided.sent = decided.sent.wrapping_add(1);
    if decided.sent % REFRESH == 0 && !refresh(leg, state, decided) {
        return false;
    }
    forward(leg, decided);
    true
}

#[inline(always)]
fn forward(leg: &Leg, flow: &Decided) {
    leg.ctx.set_address(Endpoint::new(flow.to, flow.to_port as u16));
    if !flow.alias.is_unspecified() {
        leg.ctx.set_source(flow.alias);
    }
}

/// Datagrams of a flow after which the tables that its datagrams do not look into are reminded of it.
const REFRESH: u64 = 16;

/// Looks the flow up where the proxy and the replies will: these tables too forget what was not used
/// for longest. False when one has forgotten it.
#[inline(never)]
fn refresh(leg: &Leg, state: *const SockState, flow: &Decided) -> bool {
    let trail = maps::flow_trails().get(&flow.id);
    if trail.is_null() {
        return false;
    }
    let own = flow.alias.is_unspecified();
    let hops = unsafe { (*trail).header.hops };
    let hop = unsafe { &raw const (*trail).hops[hops.wrapping_sub(1) as usize & 15] };
    let from = unsafe { (*hop).from() };
    let peer = Peer {
        netns: leg.ctx.netns(),
        ip: if own { from.ip } else { flow.alias },
        port: from.port as u32,
        listener_port: flow.to_port as u32,
    };
    let source = if own { flow.to } else { flow.alias };
    let reply = unsafe { (*state).uid_and(Endpoint::new(source, flow.to_port as u16)) };
    !maps::peers().get(&peer).is_null() && !maps::replies().get(&reply).is_null()
}

/// Remembers what was decided for this flow.
#[inline(never)]
fn keep(leg: &Leg, state: *mut SockState, flow: &Decided) {
    maps::flows().put(&unsafe { (*state).uid_and(leg.remote()) }, flow);
    unsafe { (*state).flags |= sock_flag::FLOWS };
}

/// Applies the redirect; false, with the reason in the verdict, when it cannot be.
#[inline(never)]
fn redirect(leg: &Leg, judged: &mut Judged, state: *mut SockState) -> bool {
    let image = leg.image;
    let index = judged.verdict.provider.unwrap_or(0) as u32;
    let v4 = leg.remote().ip.is_v4();
    let Some(to) = ProviderAt::new(&image, index).listener(&image, v4) else {
        return judged.fail(Reason::ListenerGoneBlock);
    };
    let mut issued = Issued::to(to);
    if !issue::issue(leg, judged, &mut issued) {
        return judged.fail(Reason::TableFull);
    }
    adopt::remember(leg, &issued);
    link(leg, state, &issued);
    judged.carried.trail = issued.trail;
    true
}

/// Makes the flow known on both sides and sends this datagram on its way.
#[inline(never)]
fn link(leg: &Leg, state: *mut SockState, issued: &Issued) {
    let mut from = Endpoint::default();
    source(leg, &issued.to, &mut from);
    issue::note_from(issued.trail, from);
    let mut alias = Ip::from_words([0; 4]);
    if !claim(leg, state, issued, &from) {
        alias = alias_of(issued.id, issued.to.ip.is_v4());
        from.ip = alias;
        enter_alias(leg, state, issued, &from);
    }
    go(leg, state, issued, &alias);
    maps::count(Counter::Linked);
}

/// The proxy knows the flow by the address `from`, and answers to it.
#[inline(never)]
pub fn enter_alias(leg: &Leg, state: *mut SockState, issued: &Issued, from: &Endpoint) {
    maps::peers().put(&peer_of(leg, issued, from), &issued.id);
    let remote = Remote { ip: leg.remote().ip, port: leg.remote().port as u64 };
    let key = unsafe { (*state).uid_and(Endpoint::new(from.ip, issued.to.port)) };
    maps::replies().put(&key, &remote);
}

/// How the proxy finds the flow: by the datagram's source.
#[inline(always)]
pub fn peer_of(leg: &Leg, issued: &Issued, from: &Endpoint) -> Peer {
    Peer {
        netns: leg.ctx.netns(),
        ip: from.ip,
        port: from.port as u32,
        listener_port: issued.to.port as u32,
    }
}

/// Sends this datagram, and remembers where the next ones go. A redirected flow stays redirected under
/// every later policy: its generation does not matter.
#[inline(never)]
fn go(leg: &Leg, state: *mut SockState, issued: &Issued, alias: &Ip) {
    let to = issued.to;
    let flow = Decided {
        id: issued.id,
        generation: 0,
        to: to.ip,
        alias: *alias,
        to_port: to.port as u64,
        sent: 0,
    };
    forward(leg, &flow);
    keep(leg, state, &flow);
}

/// The address from which the datagram will come.
#[inline(never)]
fn source(leg: &Leg, to: &Endpoint, into: &mut Endpoint) {
    let mut from = leg.sk.local();
    let chosen = leg.ctx.source();
    if !chosen.is_unspecified() {
        from.ip = chosen;
    }
    if from.ip.is_unspecified() {
        from.ip = to.ip;
    }
    *into = from;
}

/// Takes the socket's own address for the flow: replies from the listener are then the remote's. False
/// when either side knows another flow by it: one of this socket, or of one that had the port before,
/// of which the proxy may still think.
#[inline(never)]
pub fn claim(leg: &Leg, state: *mut SockState, issued: &Issued, from: &Endpoint) -> bool {
    // Once only: the tables may forget that it was given away, a proxy need not.
    if unsafe { (*state).flags } & sock_flag::NAMED != 0 {
        return false;
    }
    let remote = Remote { ip: leg.remote().ip, port: leg.remote().port as u64 };
    let natural = unsafe { (*state).uid_and(issued.to) };
    if !maps::replies().put_new(&natural, &remote) {
        return false;
    }
    if !maps::peers().put_new(&peer_of(leg, issued, from), &issued.id) {
        maps::replies().remove(&natural);
        return false;
    }
    unsafe { (*state).flags |= sock_flag::NAMED };
    true
}

/// 127.128.0.0/9 or fd48:5452::/32 ("HTR"), and the flow's number.
#[inline(always)]
fn alias_of(id: u64, v4: bool) -> Ip {
    if v4 {
        return Ip::from_v4_word((0x7f80_0000 | (id as u32 & 0x007f_ffff)).to_be());
    }
    Ip::from_words([0xfd48_5452u32.to_be(), 0, ((id >> 32) as u32).to_be(), (id as u32).to_be()])
}

#[inline(always)]
fn is_alias(ip: Ip) -> bool {
    if ip.is_v4() {
        return ip.v4_number() >> 23 == 0x7f80_0000 >> 23;
    }
    ip.words()[0] == 0xfd48_5452u32.to_be()
}

/// A proxy answers to an alias: the datagram goes to the client's real address, and comes from the
/// alias, so that the client's side knows which remote is meant.
#[inline(never)]
fn reply(leg: &Leg) -> bool {
    let id = maps::peers().get(&peer(leg));
    if id.is_null() {
        return false;
    }
    let trail = maps::flow_trails().get(&unsafe { *id });
    if trail.is_null() {
        return false;
    }
    let hops = unsafe { (*trail).header.hops };
    let hop = unsafe { &raw const (*trail).hops[hops.wrapping_sub(1) as usize & 15] };
    leg.ctx.set_address(unsafe { (*hop).from() });
    leg.ctx.set_source(leg.remote().ip);
    true
}

/// Whether this is a proxy's answer to a client with an address that is not loopback.
#[inline(never)]
fn answers(leg: &Leg) -> bool {
    !maps::peers().get(&peer(leg)).is_null()
}

#[inline(always)]
fn peer(leg: &Leg) -> Peer {
    Peer {
        netns: leg.ctx.netns(),
        ip: leg.remote().ip,
        port: leg.remote().port as u32,
        listener_port: leg.sk.local().port as u32,
    }
}
