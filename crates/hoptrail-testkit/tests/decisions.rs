//! Every decision of the table by the core alone and by the reference model, and random ones by both.
//! The kernel's tests run the same table a third time.
#![expect(clippy::unwrap_used, reason = "a test")]

mod decisions {
    pub(crate) mod generate;
    pub(crate) mod world;
}

use decisions::generate::{self, Scenario};
use decisions::world::Fake;
use hoptrail_core::Endpoint;
use hoptrail_core::compile::{Compiled, compile};
use hoptrail_core::decide::{self, Verdict, Walk};
use hoptrail_core::image::Action;
use hoptrail_core::reason::Reason;
use hoptrail_testkit::cases::{CASES, Case, Outcome, Realised, realise};
use hoptrail_testkit::reference::{self, Note};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn by_core(compiled: &Compiled, real: &Realised) -> (Verdict, Vec<Note>) {
    let mut notes = Vec::new();
    let verdict = decide::evaluate(
        &compiled.words,
        &real.flow,
        &real.connector,
        |members| real.before.past(&compiled.words, members),
        |provider, v4| !real.down.contains(&listener(compiled, provider, v4)),
        |provider, filter, reason| notes.push((provider, filter, reason)),
    );
    (verdict, notes)
}

fn listener(compiled: &Compiled, provider: u32, v4: bool) -> Endpoint {
    let provider = &compiled.providers[provider as usize];
    if v4 { provider.listen_v4.unwrap() } else { provider.listen_v6.unwrap() }
}

fn by_reference(real: &Realised) -> (Verdict, Vec<Note>) {
    reference::evaluate(&real.policy, &real.flow, &real.connector, &real.before, |_, at| {
        !real.down.contains(&at)
    })
}

fn outcome_of<'a>(compiled: &'a Compiled, verdict: &Verdict) -> (Action, Option<(&'a str, usize)>) {
    let decided_by = verdict.provider.map(|number| {
        let (provider, filter) = compiled.filter(verdict.filter).unwrap();
        assert_eq!(provider.name, compiled.providers[usize::from(number)].name);
        (provider.name.as_str(), filter)
    });
    (verdict.action, decided_by)
}

fn check(case: &Case, compiled: &Compiled, verdict: &Verdict, notes: &[Note]) {
    let (action, decided_by) = outcome_of(compiled, verdict);
    let expected = match case.expect.outcome {
        Outcome::Permit => Action::Permit,
        Outcome::Block => Action::Block,
        Outcome::RedirectTo(provider) => {
            assert_eq!(decided_by.map(|d| d.0), Some(provider), "{}", case.name);
            Action::Redirect
        }
    };
    assert_eq!((action, verdict.reason), (expected, case.expect.reason), "{}", case.name);
    assert_eq!(decided_by, case.expect.decided_by, "{}", case.name);
    for (provider, reason) in case.expect.also {
        let said = notes.iter().find(|n| compiled.providers[n.0 as usize].name == *provider);
        assert_eq!(said.map(|n| n.2), Some(*reason), "{}: {provider}", case.name);
    }
}

#[test]
fn the_table_by_the_core() {
    for case in CASES {
        let real = realise(case, &Fake);
        let compiled = compile(&real.policy, 1).unwrap();
        let (verdict, notes) = by_core(&compiled, &real);
        check(case, &compiled, &verdict, &notes);
    }
}

#[test]
fn the_table_by_the_reference() {
    for case in CASES {
        let real = realise(case, &Fake);
        let compiled = compile(&real.policy, 1).unwrap();
        let (verdict, notes) = by_reference(&real);
        check(case, &compiled, &verdict, &notes);
        assert_eq!((verdict, notes), by_core(&compiled, &real), "{}", case.name);
    }
}

#[test]
fn the_table_is_complete_and_its_names_are_unique() {
    let names: BTreeSet<&str> = CASES.iter().map(|c| c.name).collect();
    assert_eq!(names.len(), CASES.len());
    let expected = |reason: Reason| {
        CASES.iter().any(|c| {
            c.expect.reason == reason || c.expect.also.iter().any(|(_, also)| *also == reason)
        })
    };
    for reason in of_the_policy() {
        assert!(expected(reason), "no case for {reason:?}");
    }
}

/// The reasons that a policy gives; the later ones are what the kernel runs out of.
fn of_the_policy() -> impl Iterator<Item = Reason> {
    Reason::ALL.iter().copied().take_while(|r| *r != Reason::TableFull)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn random_decisions_by_core_and_reference(scenario in generate::scenario()) {
        let compiled = compile(&scenario.policy, 7).unwrap();
        for real in scenario.questions() {
            prop_assert_eq!(by_core(&compiled, &real), by_reference(&real), "{:#?}", real);
        }
    }

    #[test]
    fn memberships_by_core_and_reference(scenario in generate::scenario()) {
        let compiled = compile(&scenario.policy, 7).unwrap();
        for real in scenario.questions() {
            let mut walk = Walk::new();
            walk.identify(&compiled.words, &real.connector);
            let members = reference::members(&real.policy, &real.connector);
            prop_assert_eq!(walk.members(), members.iter().fold(0, |m, i| m | 1 << i));
        }
    }
}

/// The generator is worth something only while its questions reach every outcome.
#[test]
fn random_decisions_reach_every_reason() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut verdicts = BTreeSet::new();
    let mut notes = BTreeSet::new();
    for _ in 0..1500 {
        let scenario: Scenario = generate::scenario().new_tree(&mut runner).unwrap().current();
        for real in scenario.questions() {
            let (verdict, said) = by_reference(&real);
            verdicts.insert(verdict.reason as u8);
            notes.extend(said.iter().map(|n| n.2 as u8));
        }
    }
    let missing = |seen: &BTreeSet<u8>, but: &[Reason]| -> Vec<Reason> {
        of_the_policy().filter(|r| !but.contains(r) && !seen.contains(&(*r as u8))).collect()
    };
    assert_eq!(missing(&notes, &[Reason::NoFilter]), []);
    // Where another one redirected, that is the verdict.
    assert_eq!(missing(&verdicts, &[Reason::AnotherRedirected]), []);
}
