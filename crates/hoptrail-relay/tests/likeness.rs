//! Random conversations, directly and through relays: what each side sees is the same, byte for byte.
//!
//! `PROPTEST_CASES` makes a long run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "likeness/actor.rs"]
mod actor;
#[path = "likeness/conversation.rs"]
mod conversation;
#[path = "wire/record.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod record;
#[path = "wire/route.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod route;
#[path = "wire/stream.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod stream;
#[path = "likeness/tapped.rs"]
mod tapped;

use conversation::{Conversation, conversations};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: how_many(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_side_sees_what_it_would_see_without_a_relay(conversation in conversations()) {
        Conversation::check(&conversation);
    }
}

fn how_many() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(150)
}
