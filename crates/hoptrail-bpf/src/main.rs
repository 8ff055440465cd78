//! Hoptrail in the kernel. One file per hook; `ctx` is the only place that touches contexts, `maps`
//! the only one that touches maps, `task` the only one that reads kernel structures.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch, core_intrinsics)]
#![allow(internal_features)]

mod accept;
mod adopt;
mod connect;
mod ctx;
mod event;
mod getpeername;
mod getsockopt;
mod issue;
mod maps;
mod phases;
mod policy;
mod release;
mod sendmsg;
mod setsockopt;
mod sock_ops;
mod task;
mod verdict;

use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr, cgroup_sockopt, sock_ops};
use aya_ebpf::programs::{SockAddrContext, SockContext, SockOpsContext, SockoptContext};

/// The license decides which helpers the kernel lends.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

macro_rules! sock_addr_hooks {
    ($($hook:ident => $body:path, $family:ident;)*) => {
        $(
            #[cgroup_sock_addr($hook)]
            pub fn $hook(ctx: SockAddrContext) -> i32 {
                $body(ctx::SockAddr::new(ctx.sock_addr, ctx::Family::$family))
            }
        )*
    };
}

sock_addr_hooks! {
    connect4 => connect::run, V4;
    connect6 => connect::run, V6;
    sendmsg4 => sendmsg::run, V4;
    sendmsg6 => sendmsg::run, V6;
    recvmsg4 => getpeername::received, V4;
    recvmsg6 => getpeername::received, V6;
    getpeername4 => getpeername::run, V4;
    getpeername6 => getpeername::run, V6;
}

#[sock_ops]
pub fn tcp(ctx: SockOpsContext) -> u32 {
    sock_ops::run(ctx::SockOps::new(ctx.ops));
    1
}

#[cgroup_sockopt(getsockopt)]
pub fn getsockopt(ctx: SockoptContext) -> i32 {
    getsockopt::run(ctx::Sockopt::new(ctx.sockopt))
}

#[cgroup_sockopt(setsockopt)]
pub fn setsockopt(ctx: SockoptContext) -> i32 {
    setsockopt::run(ctx::Sockopt::new(ctx.sockopt))
}

#[cgroup_sock(sock_release)]
pub fn release(ctx: SockContext) -> i32 {
    release::run(ctx.sock);
    1
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
