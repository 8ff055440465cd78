//! connect(2), TCP and UDP, IPv4 and IPv6: the place where connections are redirected.

use crate::ctx::{ALLOW, Sock, SockAddr, refuse};
use crate::issue::{self, Issued};
use crate::maps::{self, Peer, SockState};
use crate::policy::{KernelImage, repeat};
use crate::task;
use crate::verdict::{Carried, Judged, Leg, judge, reached, redirected, refusal};
use hoptrail_core::decide::{Verdict, classify};
use hoptrail_core::image::{Action, ProviderAt};
use hoptrail_core::reason::Reason;
use hoptrail_core::shared::Counter;
use hoptrail_core::{Endpoint, Protocol};

#[inline(always)]
pub fn run(ctx: SockAddr) -> i32 {
    let (Some(protocol), Some(image), Some(sk)) =
        (ctx.protocol(), KernelImage::current(), ctx.sock())
    else {
        return ALLOW;
    };
    let leg = Leg { ctx, sk, protocol, remote: ctx.address() };
    let state = maps::sock_state(sk);
    let Some(candidates) = classify(&image, &leg.flow()) else {
        if !state.is_null() {
            issue::forget(state);
            reached(&leg, image, Verdict::NO_FILTER, Carried::declared(&leg, state));
        }
        return ALLOW;
    };
    maps::count(Counter::Considered);
    issue::forget(state);
    let mut judged = Judged::of(Carried::declared(&leg, state));
    judge(&leg, image, &candidates, &mut judged);
    let outcome = match judged.verdict.action {
        Action::Permit => {
            reached(&leg, image, judged.verdict, judged.carried);
            return ALLOW;
        }
        Action::Block => Err(judged.verdict.reason),
        Action::Redirect => redirect(&leg, image, &judged),
    };
    match outcome {
        Ok(()) => ALLOW,
        Err(reason) => refuse(refusal(&leg, image, &judged, reason)),
    }
}

#[inline(always)]
fn redirect(leg: &Leg, image: KernelImage, judged: &Judged) -> Result<(), Reason> {
    let index = judged.verdict.provider.unwrap_or(0) as u32;
    let v4 = leg.remote.ip.is_v4();
    let to = ProviderAt::new(&image, index).listener(&image, v4).ok_or(Reason::ListenerGoneBlock)?;
    let state = maps::make_sock_state(leg.sk);
    if state.is_null() {
        return Err(Reason::TableFull);
    }
    let udp = leg.protocol as u8 == Protocol::Udp as u8;
    if udp && leg.sk.local().port == 0 && !bind_somewhere(leg) {
        return Err(Reason::NoPort);
    }
    let mut issued = Issued::to(to);
    if !issue::issue(leg, image, judged, &mut issued) {
        return Err(Reason::TableFull);
    }
    issue::mark(state, leg.remote, &issued);
    if udp {
        link_flow(leg, leg.sk, state, &issued);
    }
    if leg.sk.device() != 0 {
        leg.ctx.unbind_device();
    }
    leg.ctx.set_address(to);
    maps::count(Counter::Redirected);
    redirected(leg, image, judged, &issued);
    Ok(())
}

/// A connected UDP socket gets its port only after this hook; the proxy will know the flow by it.
#[inline(never)]
fn bind_somewhere(leg: &Leg) -> bool {
    let (low, high) = task::port_range();
    let mut bound = false;
    repeat(16, || {
        let random = unsafe { aya_ebpf::helpers::generated::bpf_get_prandom_u32() };
        let span = high.wrapping_sub(low).wrapping_add(1);
        let port = if span == 0 { low } else { low.wrapping_add(random % span) };
        bound = leg.ctx.bind(port as u16);
        !bound
    });
    bound
}

/// The proxy finds a connected socket's flow by the socket's own address.
#[inline(never)]
fn link_flow(leg: &Leg, sk: Sock, state: *mut SockState, issued: &Issued) {
    let mut from: Endpoint = sk.local();
    if from.ip.is_unspecified() {
        // The kernel will choose the listener's own address as source of what it sends there.
        from.ip = issued.to.ip;
    }
    unsafe {
        (*state).from = from.ip;
        (*state).from_port = from.port;
    }
    issue::note_from(issued.trail, from);
    let peer = Peer {
        netns: leg.ctx.netns(),
        ip: from.ip,
        port: from.port as u32,
        listener_port: issued.to.port as u32,
    };
    maps::peers().put(&peer, &issued.id);
    maps::count(Counter::Linked);
}
