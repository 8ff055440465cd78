//! The moment of boot.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};

/// The moment of boot by today's clock; CLOCK_BOOTTIME counts through suspend, as records do.
pub(crate) fn boot_time() -> SystemTime {
    let since = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(since.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(since.tv_nsec).unwrap_or_default();
    SystemTime::now().checked_sub(Duration::new(seconds, nanos)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_was_when_proc_says() {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let btime = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap();
        let btime = SystemTime::UNIX_EPOCH + Duration::from_secs(btime.parse().unwrap());
        let ours = boot_time();
        let apart = ours.duration_since(btime).unwrap_or_else(|e| e.duration());
        assert!(apart < Duration::from_secs(2), "{apart:?}");
    }
}
