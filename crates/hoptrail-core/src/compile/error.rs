//! Why a policy has no image.

use crate::image::{IMAGE_WORDS, MAX_CGROUP_LEVEL, MAX_FILTERS, MAX_PROVIDERS};
use alloc::string::String;
use core::fmt;

/// Why a policy has no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompileError {
    /// More than [`MAX_PROVIDERS`].
    TooManyProviders(usize),
    /// More than [`MAX_FILTERS`].
    TooManyFilters(usize),
    /// Two providers have one rank.
    EqualRanks(String, String, i64),
    /// Two providers have one GUID, or GUIDs with the same first half.
    EqualHandles(String, String),
    /// A condition or membership of this provider names a cgroup below [`MAX_CGROUP_LEVEL`].
    CgroupTooDeep(String, usize),
    /// The image would be longer than the kernel's map value.
    TooLarge {
        /// Words that it would need.
        words: usize,
    },
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyProviders(n) => {
                write!(f, "{n} providers; at most {MAX_PROVIDERS} are possible")
            }
            Self::TooManyFilters(n) => {
                write!(f, "{n} filters in all; at most {MAX_FILTERS} are possible")
            }
            Self::EqualRanks(a, b, rank) => write!(
                f,
                "providers {a} and {b} both have rank {rank}; give each its own, the higher is asked first"
            ),
            Self::EqualHandles(a, b) => {
                write!(f, "providers {a} and {b} have the same guid; give each its own")
            }
            Self::CgroupTooDeep(provider, level) => write!(
                f,
                "provider {provider} names a cgroup {level} levels deep; at most {MAX_CGROUP_LEVEL} are possible, name one above it"
            ),
            Self::TooLarge { words } => write!(
                f,
                "the compiled policy needs {} KiB and {} KiB are there; use fewer distinct prefixes, or wider ones",
                words / 128,
                IMAGE_WORDS / 128
            ),
        }
    }
}

impl core::error::Error for CompileError {}
