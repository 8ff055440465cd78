//! The mounts of this process: which device number the kernel has for a mount.

use std::collections::HashMap;
use std::io;

/// The mounts as `/proc/self/mountinfo` lists them.
#[derive(Clone, Debug, Default)]
pub struct Mounts {
    devices: HashMap<u64, u32>,
}

impl Mounts {
    /// Reads the mounts of this process.
    ///
    /// # Errors
    /// When /proc is not there.
    pub fn read() -> io::Result<Self> {
        let text = std::fs::read("/proc/self/mountinfo")?;
        Ok(Self::parse(&text))
    }

    /// Device number (`major << 20 | minor`, the kernel's `s_dev`) of the mount with this id.
    #[must_use]
    pub fn device(&self, mount: u64) -> Option<u32> {
        self.devices.get(&mount).copied()
    }

    fn parse(text: &[u8]) -> Self {
        let devices = text.split(|&b| b == b'\n').filter_map(|line| {
            let mut fields =
                line.split(|&b| b == b' ').map(|field| std::str::from_utf8(field).ok());
            let id = fields.next()??.parse().ok()?;
            let (major, minor) = fields.nth(1)??.split_once(':')?;
            let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
            Some((id, major << 20 | minor))
        });
        Self { devices: devices.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_by_id() {
        let mounts = Mounts::parse(
            b"27 1 254:3 / / rw,relatime - ext4 /dev/vda rw\n\
              41 31 0:38 / /mnt/\xff\\040x rw shared:7 master:2 - cgroup2 cgroup2 rw\n\
              no mount at all\n",
        );
        assert_eq!(mounts.device(27), Some(254 << 20 | 3));
        assert_eq!(mounts.device(41), Some(38));
        assert_eq!(mounts.device(28), None);
    }
}
