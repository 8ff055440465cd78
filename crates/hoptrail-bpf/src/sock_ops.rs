//! TCP's life: a redirected connect learns its port, the proxy's accepted socket gets the link, and
//! the end of either cleans up.

use crate::ctx::SockOps;
use crate::issue;
use crate::maps::{self, Tuple, sock_flag};
use hoptrail_core::Endpoint;
use hoptrail_core::shared::Counter;

const TCP_CONNECT_CB: u32 = 3;
const PASSIVE_ESTABLISHED_CB: u32 = 5;
const STATE_CB: u32 = 10;
const TCP_CLOSE: u32 = 7;

#[inline(always)]
pub fn run(ctx: SockOps) {
    match ctx.operation() {
        TCP_CONNECT_CB => connecting(ctx),
        PASSIVE_ESTABLISHED_CB => accepted(ctx),
        STATE_CB if ctx.new_state() == TCP_CLOSE => closed(ctx),
        _ => {}
    }
}

/// The SYN is about to leave: the local port is known now.
#[inline(always)]
fn connecting(ctx: SockOps) {
    let Some(sk) = ctx.sock() else {
        return;
    };
    let state = maps::sock_state(sk);
    if state.is_null() || unsafe { (*state).flags } & sock_flag::ISSUED == 0 {
        return;
    }
    let to = unsafe { (*state).to() };
    let v4 = to.ip.is_v4();
    let (from, remote) = (ctx.local(v4), ctx.remote(v4));
    let id = unsafe { (*state).id };
    // Another program on the same hook may have sent it elsewhere: then nobody will ask.
    if remote.port != to.port || remote.ip != to.ip {
        maps::count(Counter::LinkFailed);
        issue::forget(state);
        return;
    }
    let trail = maps::links().get(&id);
    if trail.is_null() || !maps::tuples().put(&tuple(ctx, from, to), &id) {
        maps::count(Counter::LinkFailed);
        issue::forget(state);
        return;
    }
    issue::note_from(trail, from);
    unsafe {
        (*state).from = from.ip;
        (*state).from_port = from.port;
        (*state).flags |= sock_flag::TUPLED;
    }
    ctx.watch_state();
}

/// The handshake is complete on the proxy's side: the accepted socket takes the link over.
#[inline(always)]
fn accepted(ctx: SockOps) {
    let Some(sk) = ctx.sock() else {
        return;
    };
    let key = tuple(ctx, ctx.remote(false), ctx.local(false));
    let link = maps::tuples().get(&key);
    if link.is_null() {
        return;
    }
    let id = unsafe { *link };
    let state = maps::make_sock_state(sk);
    if state.is_null() {
        // getsockopt still finds the link by the four addresses.
        maps::count(Counter::LinkFailed);
        return;
    }
    unsafe {
        (*state).id = id;
        (*state).flags = sock_flag::ACCEPTED;
    }
    maps::tuples().remove(&key);
    ctx.watch_state();
    maps::count(Counter::Linked);
}

#[inline(always)]
fn closed(ctx: SockOps) {
    let Some(sk) = ctx.sock() else {
        return;
    };
    let state = maps::sock_state(sk);
    if state.is_null() {
        return;
    }
    let flags = unsafe { (*state).flags };
    let id = unsafe { (*state).id };
    if flags & sock_flag::ACCEPTED != 0 {
        // Reset before the proxy has asked: it will, and shall not take it for a direct connection.
        let mut kept = 0;
        if flags & sock_flag::ASKED == 0 {
            let trail = maps::links().get(&id);
            if !trail.is_null() && !maps::make_staged(sk, trail).is_null() {
                kept = sock_flag::STAGED;
            }
        }
        unsafe { (*state).flags = (flags & !sock_flag::ACCEPTED) | kept };
        maps::links().remove(&id);
    } else if flags & sock_flag::TUPLED != 0 {
        // Still there: no proxy has accepted it, and none will.
        let (from, to) = unsafe { ((*state).from(), (*state).to()) };
        let key = tuple(ctx, from, to);
        let link = maps::tuples().get(&key);
        if !link.is_null() && unsafe { *link } == id {
            maps::tuples().remove(&key);
            maps::links().remove(&id);
        }
        unsafe { (*state).flags = flags & !(sock_flag::ISSUED | sock_flag::TUPLED) };
    }
}

#[inline(always)]
fn tuple(ctx: SockOps, client: Endpoint, listener: Endpoint) -> Tuple {
    Tuple {
        netns: ctx.netns(),
        client: client.ip,
        listener: listener.ip,
        client_port: client.port as u32,
        listener_port: listener.port as u32,
    }
}
