//! From a proxy's socket to the trail of the connection or flow that it serves.

use crate::ctx::{Sock, Sockopt};
use crate::maps::{self, Peer, SockState, ThreadSock, Tuple, sock_flag};
use crate::task;
use hoptrail_core::{Protocol, Trail};

const TCP_CLOSE: u32 = 7;
const TCP_LISTEN: u32 = 10;

/// Why there is no trail.
#[derive(Clone, Copy)]
pub enum Missing {
    NotConnected,
    NoRecords,
}

/// A trail and the id of its link or flow; 0 for one that is only staged.
#[derive(Clone, Copy)]
pub struct Found {
    pub trail: *const Trail,
    pub id: u64,
}

/// What `sk` serves, or the records that were set on it.
#[inline(always)]
pub fn find(ctx: Sockopt, sk: Sock) -> Result<Found, Missing> {
    let state = maps::sock_state(sk);
    match sk.protocol() {
        Some(Protocol::Tcp) => tcp(ctx, sk, state),
        Some(Protocol::Udp) => udp(ctx, sk, state),
        None => Err(Missing::NoRecords),
    }
}

#[inline(always)]
fn tcp(ctx: Sockopt, sk: Sock, state: *mut SockState) -> Result<Found, Missing> {
    let flags = if state.is_null() { 0 } else { unsafe { (*state).flags } };
    if flags & sock_flag::ACCEPTED != 0 {
        unsafe { (*state).flags |= sock_flag::ASKED };
        return link(unsafe { (*state).id });
    }
    if flags & sock_flag::STAGED != 0 {
        return staged(sk);
    }
    if sk.state() == TCP_CLOSE || sk.state() == TCP_LISTEN {
        return Err(Missing::NotConnected);
    }
    // accept(2) returns slightly before the handshake's callback has run: the link is then still
    // where the connect has put it.
    let (client, listener) = (sk.remote(), sk.local());
    let key = Tuple {
        netns: ctx.netns(),
        client: client.ip,
        listener: listener.ip,
        client_port: client.port as u32,
        listener_port: listener.port as u32,
    };
    let id = maps::tuples().get(&key);
    if !id.is_null() {
        return link(unsafe { *id });
    }
    // Or the callback has run just now, on another CPU.
    let state = maps::sock_state(sk);
    if !state.is_null() && unsafe { (*state).flags } & sock_flag::ACCEPTED != 0 {
        return link(unsafe { (*state).id });
    }
    Err(Missing::NoRecords)
}

#[inline(always)]
fn link(id: u64) -> Result<Found, Missing> {
    let trail = maps::links().get(&id);
    if trail.is_null() { Err(Missing::NoRecords) } else { Ok(Found { trail, id }) }
}

#[inline(always)]
fn staged(sk: Sock) -> Result<Found, Missing> {
    let trail = maps::staged(sk);
    if trail.is_null() { Err(Missing::NoRecords) } else { Ok(Found { trail, id: 0 }) }
}

#[inline(always)]
fn udp(ctx: Sockopt, sk: Sock, state: *const SockState) -> Result<Found, Missing> {
    if state.is_null() {
        return Err(Missing::NoRecords);
    }
    let key = ThreadSock { thread: task::thread(), sock: unsafe { (*state).uid } };
    let selected = maps::selected().get(&key);
    if selected.is_null() {
        if unsafe { (*state).flags } & sock_flag::STAGED != 0 {
            return staged(sk);
        }
        return Err(Missing::NotConnected);
    }
    let (ip, port) = unsafe { ((*selected).ip, (*selected).port as u32) };
    let peer = Peer { netns: ctx.netns(), ip, port, listener_port: sk.local().port as u32 };
    let id = maps::peers().get(&peer);
    if id.is_null() {
        return Err(Missing::NoRecords);
    }
    let id = unsafe { *id };
    let trail = maps::flow_trails().get(&id);
    if trail.is_null() { Err(Missing::NoRecords) } else { Ok(Found { trail, id }) }
}

/// Notes that this thread looks at connection `id`: what it dials next most plausibly continues it.
#[inline(always)]
pub fn note_asked(id: u64) {
    if id != 0 {
        maps::asked().put(&task::thread(), &id);
    }
}
