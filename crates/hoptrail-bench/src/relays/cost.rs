//! What the processes of a cgroup use.

use crate::Result;
use hoptrail_engine::EngineError;
use hoptrail_engine::host::cgroup2::CgroupDir;
use std::fs;
use std::time::Duration;

/// Time on CPUs of all that ever lived in it: the kernel counts it for every cgroup, without a controller.
pub(super) fn cpu(home: &CgroupDir) -> Result<Duration> {
    let path = home.path().join("cpu.stat");
    let text = fs::read_to_string(&path)
        .map_err(|e| EngineError::os(format!("cannot read {}", path.display()), e))?;
    let used = field(&text, "usage_usec");
    used.map(Duration::from_micros)
        .ok_or_else(|| EngineError::new(format!("there is no usage_usec in {}", path.display())))
}

/// The proportional set sizes of its processes, in bytes: what they share counts once.
pub(super) fn memory(home: &CgroupDir) -> Result<u64> {
    let failed =
        |e| EngineError::os(format!("cannot read the memory of {}", home.path().display()), e);
    let mut bytes = 0;
    for process in home.processes().map_err(failed)? {
        let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).map_err(failed)?;
        bytes += field(&text, "Pss:").unwrap_or_default() << 10;
    }
    Ok(bytes)
}

/// A number that stands after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc() {
        let rollup = "5581-7ffd ---p 00000000 00:00 0 [rollup]\nRss:   900 kB\nPss:    812 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(field(rollup, "Pss:"), Some(812));
        assert_eq!(field("usage_usec 12\nuser_usec 5\n", "usage_usec"), Some(12));
        assert_eq!(field("", "usage_usec"), None);
    }
}
