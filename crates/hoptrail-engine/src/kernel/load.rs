//! Loading: the embedded object, the kernel's offsets, the verifier.

use super::btf;
use super::hooks::HOOKS;
use super::maps::{Maps, Plain, typed};
use super::pins::Pins;
use super::ring::Ring;
use crate::engine::EngineError;
use aya::programs::ProgramError;
use aya::{Ebpf, EbpfError, EbpfLoader, include_bytes_aligned};
use hoptrail_core::shared::map;

/// Compiled from crates/hoptrail-bpf by scripts/build-bpf and committed.
static OBJECT: &[u8] = include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../hoptrail-bpf/object/hoptrail.bpf.o"
));

/// The maps that live on in pins; the loader shares them by name.
const PINNED: &[&str] = &[
    map::POLICY,
    map::LINKS,
    map::TUPLES,
    "SOCKS",
    "STAGED",
    "FLOWS",
    map::FLOW_TRAILS,
    "PEERS",
    "REPLIES",
    "SELECTED",
    "DESTINATIONS",
    "RECENT",
    "ASKED",
    map::CONTEXTS,
    map::PATHS,
    map::KEY,
    map::COUNTERS,
    "LAST_WAKE",
    "SEQUENCE",
    map::EVENTS,
    map::TEMPLATE,
    map::GENERATION,
];

/// The loaded object.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    pub(super) maps: Maps,
    pub(super) events: Ring,
}

pub(super) fn load(pins: Option<&Pins>, entries: &[(String, u32)]) -> Result<Loaded, EngineError> {
    let offsets = Plain(btf::offsets()?);
    let ports = port_range();
    let object = std::env::var_os("HOPTRAIL_BPF_OBJECT").map(std::fs::read).transpose();
    let object = object.map_err(|e| EngineError::os("cannot read HOPTRAIL_BPF_OBJECT", e))?;
    let mut loader = EbpfLoader::new();
    loader.override_global("OFFSETS", &offsets, true);
    loader.override_global("PORT_RANGE", &ports, true);
    for (name, count) in entries {
        loader.map_max_entries(name, *count);
    }
    if let Some(pins) = pins {
        for name in PINNED {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    let mut ebpf = loader.load(object.as_deref().unwrap_or(OBJECT)).map_err(explain)?;
    for (name, _) in HOOKS {
        load_program(&mut ebpf, name)?;
    }
    let maps = Maps::take(&mut ebpf)?;
    let events = Ring::new(typed(&mut ebpf, map::EVENTS)?)?;
    Ok(Loaded { ebpf, maps, events })
}

fn load_program(ebpf: &mut Ebpf, name: &str) -> Result<(), EngineError> {
    use aya::programs::Program;

    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| EngineError::new(format!("the BPF object has no program {name}")))?;
    let result = match program {
        Program::CgroupSockAddr(p) => p.load(),
        Program::CgroupSockopt(p) => p.load(),
        Program::CgroupSock(p) => p.load(),
        Program::SockOps(p) => p.load(),
        _ => return Err(EngineError::new(format!("BPF program {name} is of an unknown type"))),
    };
    result.map_err(|error| refused(name, &error))
}

/// A refusal by the verifier, or for want of privileges, in a sentence.
fn refused(name: &str, error: &ProgramError) -> EngineError {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return EngineError::new(format!("cannot load BPF program {name}: {error}"));
    };
    if io_error.raw_os_error() == Some(libc::EPERM) {
        return privileges();
    }
    let log = verifier_log.to_string();
    if std::env::var_os(SHOW_LOG).is_some() {
        let tail: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
        tail.iter().rev().for_each(|line| eprintln!("{line}"));
    }
    EngineError::new(format!(
        "the kernel's verifier refuses BPF program {name} ({io_error}): {}; this version of Hoptrail does not know such a kernel, please report it with `uname -r` ({SHOW_LOG}=1 shows more)",
        reason(&log)
    ))
}

/// Set, it shows the end of a verifier log.
const SHOW_LOG: &str = "HOPTRAIL_VERIFIER_LOG";
/// Lines of a verifier log that are worth showing.
const LOG_LINES: usize = 40;

/// The verifier's own reason: its last words before the statistics.
fn reason(log: &str) -> &str {
    log.lines()
        .rev()
        .map(str::trim)
        .find(|line| {
            let statistics = ["verification time", "stack depth", "processed "];
            !line.is_empty() && !statistics.iter().any(|s| line.starts_with(s))
        })
        .unwrap_or("it gives no reason")
}

fn privileges() -> EngineError {
    EngineError::new(
        "not allowed to load BPF programs: run as root, or with the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
    )
}

fn explain(error: EbpfError) -> EngineError {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(e) = cause {
        let denied = e.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if denied == Some(libc::EPERM) {
            return privileges();
        }
        cause = e.source();
    }
    EngineError::new(format!("cannot load the BPF programs: {}", chain(&error)))
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        text = format!("{text}: {e}");
        cause = e.source();
    }
    text
}

/// The host's range of local ports, for connected UDP sockets that the connect hook has to bind.
fn port_range() -> [u32; 2] {
    const DEFAULT: [u32; 2] = [32_768, 60_999];
    let Ok(text) = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") else {
        return DEFAULT;
    };
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(low)), Some(Ok(high))) if low <= high => [low, high],
        _ => DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_stands_before_the_statistics() {
        let log = "0: (b7) r0 = 0\ncombined stack size of 4 calls is 528. Too large\nverification time 5 usec\nstack depth 1\nprocessed 7 insns\n";
        assert_eq!(reason(log), "combined stack size of 4 calls is 528. Too large");
        assert_eq!(reason(""), "it gives no reason");
    }
}
