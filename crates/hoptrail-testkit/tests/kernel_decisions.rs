//! Every decision of the table by the real kernel: the third way, after the core alone and the
//! reference model (tests/decisions.rs).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "kernel_decisions/people.rs"]
mod people;
#[path = "kernel_decisions/play.rs"]
mod play;

use hoptrail_testkit::cases::CASES;
use people::People;
use std::process::ExitCode;

mod decisions {
    //! The one test; the cases share a lab and its people, who are slower to make than the cases.
    use super::{CASES, People, play};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    pub(super) fn the_table_by_the_kernel() {
        let people = People::new();
        let wrong: Vec<&str> = CASES
            .iter()
            .filter(|case| {
                let outcome = catch_unwind(AssertUnwindSafe(|| play::play(&people, case)));
                people.go_home();
                outcome.is_err()
            })
            .map(|case| case.name)
            .collect();
        assert!(wrong.is_empty(), "{} of {} cases: {wrong:#?}", wrong.len(), CASES.len());
    }
}

fn main() -> ExitCode {
    hoptrail_testkit::lab::run(hoptrail_testkit::tests! { decisions: [the_table_by_the_kernel] })
}
