//! connect(2), TCP and UDP, IPv4 and IPv6: the place where connections are redirected.

use crate::ctx::{ALLOW, SockAddr, refuse};
use crate::issue::{self, Issued};
use crate::maps::{self, Peer, SockState};
use crate::phases::ht_classify;
use crate::policy::{KernelImage, repeat};
use crate::sendmsg::{claim, enter_alias};
use crate::setsockopt::name_sock;
use crate::verdict::{Carried, Judged, Leg, judge, reached, redirected, refusal};
use crate::{adopt, task};
use hoptrail_core::decide::{Flow, Walk};
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
    let leg = Leg { image, ctx, sk, flow: Flow { protocol, remote: ctx.address() } };
    let state = maps::sock_state(sk);
    if !state.is_null() && unsafe { (*state).device } != 0 {
        // An earlier connect of this socket was redirected: it was bound to a device before.
        ctx.bind_device(unsafe { (*state).device });
        unsafe { (*state).device = 0 };
    }
    let mut walk = Walk::new();
    if ht_classify(image.raw(), &mut walk, &leg.flow) == 0 {
        if !state.is_null() {
            issue::forget(state);
            reached(&leg, &Judged::of(Carried::declared(&leg, state)));
        }
        return ALLOW;
    }
    maps::count(Counter::Considered);
    issue::forget(state);
    let mut judged = judge(&leg, &mut walk, Carried::declared(&leg, state));
    let done = match judged.verdict.action {
        Action::Permit => {
            reached(&leg, &judged);
            true
        }
        Action::Block => false,
        Action::Redirect => {
            let applied = redirect(&leg, &mut judged);
            if applied {
                redirected(&leg, &judged);
            }
            applied
        }
    };
    if done { ALLOW } else { refuse(refusal(&leg, &judged)) }
}

/// Applies the redirect; false, with the reason in the verdict, when it cannot be.
#[inline(never)]
fn redirect(leg: &Leg, judged: &mut Judged) -> bool {
    let image = leg.image;
    let index = judged.verdict.provider.unwrap_or(0) as u32;
    let v4 = leg.remote().ip.is_v4();
    let Some(to) = ProviderAt::new(&image, index).listener(&image, v4) else {
        return judged.fail(Reason::ListenerGoneBlock);
    };
    let state = maps::make_sock_state(leg.sk);
    if state.is_null() {
        return judged.fail(Reason::TableFull);
    }
    let udp = leg.protocol() as u8 == Protocol::Udp as u8;
    if udp && leg.sk.local().port == 0 && !bind_somewhere(leg, &to) {
        return judged.fail(Reason::NoPort);
    }
    let mut issued = Issued::to(to);
    if !issue::issue(leg, judged, &mut issued) {
        return judged.fail(Reason::TableFull);
    }
    adopt::remember(leg, &issued);
    issue::mark(state, leg.remote(), &issued);
    if udp {
        link_flow(leg, state, &issued);
    }
    let device = leg.sk.device();
    if device != 0 && leg.ctx.unbind_device() {
        unsafe { (*state).device = device };
    }
    leg.ctx.set_address(to);
    judged.carried.trail = issued.trail;
    true
}

/// A connected UDP socket gets its port only after this hook; the proxy will know the flow by it.
#[inline(never)]
fn bind_somewhere(leg: &Leg, to: &Endpoint) -> bool {
    let (low, high) = task::port_range();
    let mut bound = false;
    repeat(16, || {
        let random = unsafe { aya_ebpf::helpers::generated::bpf_get_prandom_u32() };
        let span = high.wrapping_sub(low).wrapping_add(1);
        let port = if span == 0 { low } else { low.wrapping_add(random % span) };
        // Not one by which the proxy knows a flow already.
        let own = leg.sk.local().ip;
        let ip = if own.is_unspecified() { to.ip } else { own };
        let peer =
            Peer { netns: leg.ctx.netns(), ip, port: port & 0xffff, listener_port: to.port as u32 };
        bound = maps::peers().get(&peer).is_null() && leg.ctx.bind(port as u16);
        !bound
    });
    bound
}

/// The proxy finds a connected socket's flow by the socket's own address.
#[inline(never)]
fn link_flow(leg: &Leg, state: *mut SockState, issued: &Issued) {
    let mut from: Endpoint = leg.sk.local();
    if from.ip.is_unspecified() {
        // The kernel will choose the listener's own address as source of what it sends there.
        from.ip = issued.to.ip;
    }
    unsafe {
        (*state).from = from.ip;
        (*state).from_port = from.port;
    }
    issue::note_from(issued.trail, from);
    name_sock(state);
    if !claim(leg, state, issued, &from) {
        // A connected socket has one address: the proxy's next question about it means this flow.
        enter_alias(leg, state, issued, &from);
    }
    maps::count(Counter::Linked);
}
