//! The moment of boot.
#![expect(unsafe_code, reason = "the standard library does not say how long the machine is up")]

use std::time::{Duration, SystemTime};
use windows_sys::Win32::System::SystemInformation::GetTickCount64;

/// The moment of boot by today's clock.
pub(crate) fn boot_time() -> SystemTime {
    // SAFETY: it takes nothing and always succeeds.
    let since = Duration::from_millis(unsafe { GetTickCount64() });
    SystemTime::now().checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_is_past_and_stays_where_it_is() {
        let (one, other) = (boot_time(), boot_time());
        assert!(one <= SystemTime::now());
        let apart = other.duration_since(one).unwrap_or_else(|e| e.duration());
        assert!(apart < Duration::from_secs(2), "{apart:?}");
    }
}
