//! The numbers of the socket-option interface (docs/abi.md).

/// `level` of every Hoptrail socket option: "HT".
pub const SOL_HOPTRAIL: i32 = 0x4854;

/// The record blob. Get on an accepted socket, set on a socket that is not yet connected.
pub const REDIRECT_RECORDS: i32 = 1;
/// The context of the hop that delivered this connection. Get only.
pub const REDIRECT_CONTEXT: i32 = 2;
/// Length in bytes of what [`REDIRECT_RECORDS`] would give, as a native `u32`. Get only.
pub const REDIRECT_RECORDS_SIZE: i32 = 3;
/// Length in bytes of what [`REDIRECT_CONTEXT`] would give, as a native `u32`. Get only.
pub const REDIRECT_CONTEXT_SIZE: i32 = 4;
/// Names the UDP peer which the calling thread's next options on this socket mean. Set only.
pub const REDIRECT_PEER: i32 = 5;
/// The interface's version and the engine's generation, 16 bytes. Get only, on any inet socket.
pub const REDIRECT_VERSION: i32 = 6;

/// Version of the blob, the context and the option numbers.
pub const ABI_VERSION: u16 = 1;

/// `SO_ORIGINAL_DST` at level `IPPROTO_IP` and `IP6T_SO_ORIGINAL_DST` at level `IPPROTO_IPV6`.
pub const SO_ORIGINAL_DST: i32 = 80;
