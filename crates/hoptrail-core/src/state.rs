//! The four redirect states (FWPS_CONNECTION_REDIRECT_STATE; reference statements 41 to 47).

/// How a connection's records stand towards one redirect handle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum RedirectState {
    /// No records.
    NotRedirected = 0,
    /// The last hop is the asking handle's.
    RedirectedBySelf = 1,
    /// There are hops, none of them the asking handle's.
    RedirectedByOther = 2,
    /// An earlier hop, but not the last, is the asking handle's.
    PreviouslyRedirectedBySelf = 3,
}

impl RedirectState {
    /// The state of records whose hops were applied by `hops` (oldest first) for `handle`.
    #[must_use]
    pub fn of(hops: impl IntoIterator<Item = u64>, handle: u64) -> Self {
        hops.into_iter().fold(Self::NotRedirected, |state, hop| match state {
            _ if hop == handle => Self::RedirectedBySelf,
            Self::NotRedirected | Self::RedirectedByOther => Self::RedirectedByOther,
            Self::RedirectedBySelf | Self::PreviouslyRedirectedBySelf => {
                Self::PreviouslyRedirectedBySelf
            }
        })
    }

    /// In the two *self* states a redirect by that handle never happens: this is what makes every
    /// chain finite.
    #[must_use]
    pub const fn may_redirect(self) -> bool {
        matches!(self, Self::NotRedirected | Self::RedirectedByOther)
    }
}

#[cfg(test)]
mod tests {
    use super::RedirectState::{self, *};

    #[test]
    fn statements_41_to_46() {
        let (a, b, c) = (1, 2, 3);
        assert_eq!(RedirectState::of([], a), NotRedirected);
        assert_eq!(RedirectState::of([a], a), RedirectedBySelf);
        assert_eq!(RedirectState::of([a], b), RedirectedByOther);
        assert_eq!(RedirectState::of([a, b], a), PreviouslyRedirectedBySelf);
        assert_eq!(RedirectState::of([a, b], b), RedirectedBySelf);
        assert_eq!(RedirectState::of([a, b], c), RedirectedByOther);
    }
}
