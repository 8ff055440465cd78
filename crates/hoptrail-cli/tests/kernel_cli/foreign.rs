//! What another product has on the same machine: a program on a hook that hoptrail uses too, pinned among its pins.

use crate::process::Said;
use crate::stage::Stage;
use hoptrail_testkit::lab::need;
use std::path::{Path, PathBuf};

/// A connect program that permits everything, attached and pinned by bpf(2) alone.
const PUT: &str = r#"
import ctypes, os, platform, struct, sys
cgroup, pin = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
def bpf(command, attr):
    buffer = ctypes.create_string_buffer(attr, 128)
    result = libc.syscall(BPF, command, buffer, 128)
    if result < 0: sys.exit(f"bpf({command}): {os.strerror(ctypes.get_errno())}")
    return result
LOAD, PIN, ATTACH, SOCK_ADDR, INET4_CONNECT, ALLOW_MULTI = 5, 6, 8, 18, 10, 2
code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xb7, 0, 0, 1, 0x95, 0, 0, 0), 16)
licence = ctypes.create_string_buffer(b"GPL")
program = bpf(LOAD, struct.pack("=IIQQIIQII16sII", SOCK_ADDR, 2, ctypes.addressof(code), ctypes.addressof(licence),
    0, 0, 0, 0, 0, b"other_vendor", 0, INET4_CONNECT))
bpf(ATTACH, struct.pack("=IIII", os.open(cgroup, os.O_RDONLY), program, INET4_CONNECT, ALLOW_MULTI))
path = ctypes.create_string_buffer(pin.encode())
bpf(PIN, struct.pack("=QII", ctypes.addressof(path), program, 0))
"#;

/// The program. It goes with its cgroup.
pub(crate) struct Foreign {
    pin: PathBuf,
}

impl Foreign {
    /// Attaches it to that cgroup of the test and pins it in that directory.
    pub(crate) fn put(stage: &Stage, cgroup: &str, pins: &str) -> Self {
        need("python3", "python3");
        let pin = Path::new(pins).join("other-vendor");
        let dir = stage.cgroup(cgroup);
        let (dir, at) = (dir.path().to_str().unwrap(), pin.to_str().unwrap());
        let output = stage.output("ctl", &["python3", "-c", PUT, dir, at]);
        assert_eq!(output.code(), 0, "{}", output.err());
        let foreign = Self { pin };
        foreign.is_there(stage, cgroup);
        foreign
    }

    /// It is pinned and attached, alone.
    pub(crate) fn is_there(&self, stage: &Stage, cgroup: &str) {
        assert!(Path::new(&self.pin).exists());
        let programs = stage.programs(stage.cgroup(cgroup).path());
        let others: Vec<_> = programs.iter().filter(|p| !p.ours).map(|p| &*p.name).collect();
        assert_eq!(others, ["other_vendor"]);
    }
}
