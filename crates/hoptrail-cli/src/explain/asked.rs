//! What the decision said, provider by provider.

use hoptrail_core::image::Action;
use hoptrail_core::reason::Reason;

/// A provider that had a matching filter. Providers are numbered in the order of asking, filters
/// within their provider from 0.
pub(super) struct Asked {
    pub(super) provider: usize,
    pub(super) filter: usize,
    pub(super) reason: Reason,
}

/// The verdict and how it came about.
pub(super) struct Answer {
    pub(super) action: Action,
    pub(super) reason: Reason,
    /// Provider and filter that decided, if any filter matched.
    pub(super) decided: Option<(usize, usize)>,
    /// In the order of asking.
    pub(super) asked: Vec<Asked>,
}

impl Answer {
    /// The outcome that became the verdict.
    pub(super) fn deciding(&self) -> Option<&Asked> {
        let decided = self.decided?;
        self.asked.iter().find(|asked| (asked.provider, asked.filter) == decided)
    }

    /// Why provider number `i` is not among those asked, for machines and for people.
    pub(super) fn unasked(&self, i: usize) -> (&'static str, &'static str) {
        let refused_before =
            self.action == Action::Block && self.decided.is_some_and(|(provider, _)| provider < i);
        if refused_before {
            ("not-asked", "not asked: the connection is refused already")
        } else {
            (Reason::NoFilter.id(), Reason::NoFilter.text())
        }
    }
}
