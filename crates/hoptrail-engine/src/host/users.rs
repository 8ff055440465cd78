//! Users by name, as every name service of the host knows them.

use nix::unistd::{Uid, User};
use std::io;

/// The number of the user called `name`; `None` when there is none. Names that are no user's but a
/// number count as the number, as for chown(1).
///
/// # Errors
/// When the user database cannot be asked.
pub fn id(name: &str) -> io::Result<Option<u32>> {
    match User::from_name(name)? {
        Some(user) => Ok(Some(user.uid.as_raw())),
        None => Ok(name.parse().ok().filter(|id| *id != u32::MAX)),
    }
}

/// The name of user `id`, if it has one.
#[must_use]
pub fn name(id: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(id)).ok().flatten().map(|user| user.name)
}

/// The user as whom this process runs.
#[must_use]
pub fn current() -> u32 {
    Uid::current().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(id("root").unwrap(), Some(0));
        assert_eq!(id("12345").unwrap(), Some(12345));
        assert_eq!(id("4294967295").unwrap(), None);
        assert_eq!(id("no-such-user-here").unwrap(), None);
        assert_eq!(name(0).as_deref(), Some("root"));
    }
}
