//! What the application sees: the address it asked for, as peer and as source of replies.

use crate::ctx::{ALLOW, SockAddr};
use crate::maps::{self, sock_flag};
use hoptrail_core::Endpoint;

/// getpeername(2). accept(2) comes this way too, but an accepted socket was not redirected itself.
#[inline(always)]
pub fn run(ctx: SockAddr) -> i32 {
    if let Some(sk) = ctx.sock() {
        let state = maps::sock_state(sk);
        if !state.is_null() && unsafe { (*state).flags } & sock_flag::ISSUED != 0 {
            ctx.set_address(unsafe { (*state).asked() });
        }
    }
    ALLOW
}

/// recvfrom(2) and recvmsg(2) of UDP.
#[inline(always)]
pub fn received(ctx: SockAddr) -> i32 {
    let Some(sk) = ctx.sock() else {
        return ALLOW;
    };
    let state = maps::sock_state(sk);
    if state.is_null() {
        return ALLOW;
    }
    let flags = unsafe { (*state).flags };
    if flags & (sock_flag::ISSUED | sock_flag::FLOWS) == 0 {
        return ALLOW;
    }
    let from = ctx.address();
    let to = unsafe { (*state).to() };
    if flags & sock_flag::ISSUED != 0 && from.port == to.port && from.ip == to.ip {
        ctx.set_address(unsafe { (*state).asked() });
        return ALLOW;
    }
    if flags & sock_flag::FLOWS != 0 {
        let remote = maps::replies().get(&unsafe { (*state).uid_and(from) });
        if !remote.is_null() {
            let remote = unsafe { Endpoint::new((*remote).ip, (*remote).port as u16) };
            ctx.set_address(remote);
        }
    }
    ALLOW
}
