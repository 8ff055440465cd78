//! The hooks: each program's name in the object and the kernel's number of its attach type.

/// Program and attach type (linux/bpf.h, enum bpf_attach_type).
pub const HOOKS: &[(&str, u32)] = &[
    ("connect4", 10),
    ("connect6", 11),
    ("sendmsg4", 14),
    ("sendmsg6", 15),
    ("recvmsg4", 19),
    ("recvmsg6", 20),
    ("getpeername4", 29),
    ("getpeername6", 30),
    ("tcp", 3),
    ("getsockopt", 21),
    ("setsockopt", 22),
    ("release", 34),
];
