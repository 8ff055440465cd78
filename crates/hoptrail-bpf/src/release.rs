//! close(2): of a socket whose connect was redirected but never got as far as the network, and of a
//! proxy's end.

use crate::ctx::Sock;
use crate::issue;
use crate::maps::{self, sock_flag};
use aya_ebpf::bindings::bpf_sock;

#[inline(always)]
pub fn run(sk: *mut bpf_sock) {
    let Some(sk) = Sock::new(sk) else {
        return;
    };
    let state = maps::sock_state(sk);
    if state.is_null() {
        return;
    }
    if unsafe { (*state).flags } & sock_flag::ACCEPTED != 0 {
        unsafe { (*state).flags |= sock_flag::ASKED };
    }
    // One that got its port lives on in TCP after close; `sock_ops` ends it.
    let mask = sock_flag::ISSUED | sock_flag::TUPLED;
    if unsafe { (*state).flags } & mask == sock_flag::ISSUED {
        issue::forget(state);
    }
}
