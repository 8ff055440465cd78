//! docs/conformance.md promises a test or a reason for each of 100 statements: here it is held to that.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../../docs/conformance.md");

struct Row {
    here: &'static str,
    shown_by: &'static str,
}

/// The rows by their numbers.
fn rows() -> Vec<(u32, Row)> {
    DOCUMENT
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let number = cells[0].parse().ok().filter(|_| line.starts_with('|'))?;
            assert_eq!(cells.len(), 4, "{line}");
            Some((number, Row { here: cells[2], shown_by: cells[3] }))
        })
        .collect()
}

/// `FILE::NAME` of every test that is named between backticks.
fn cited(cell: &str) -> Vec<(&str, &str)> {
    cell.split('`').skip(1).step_by(2).map(|test| test.split_once("::").unwrap()).collect()
}

/// Whether the cell names tests, and has nothing else beside them.
fn is_shown(cell: &str) -> bool {
    let mut between = cell.split('`').step_by(2);
    !cited(cell).is_empty() && between.all(|text| matches!(text, "" | ", "))
}

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Files are named from one of four places.
fn find(file: &str) -> PathBuf {
    ["hoptrail-testkit/tests", "hoptrail-testkit/src", "hoptrail-winsock/tests", ""]
        .map(|place| crates().join(place).join(file))
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_default()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

fn is_c(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "c")
}

/// Whether the file has that test: a function, or a case of a table.
fn has_test(file: &Path, name: &str) -> bool {
    let text = fs::read_to_string(file).unwrap_or_default();
    if is_c(file) {
        return text.contains(&format!("\nstatic void {name}(void)\n{{"));
    }
    text.contains(&format!("fn {name}(")) || text.contains(&format!("\"{name}\""))
}

/// A test of a part of a binary with its own harness runs only when the binary lists it; one of a C program when the
/// program's table has it.
fn is_listed(file: &Path, name: &str) -> bool {
    if is_c(file) {
        let text = fs::read_to_string(file).unwrap_or_default();
        let (_, table) = text.split_once("\nTESTS(").unwrap_or_default();
        return table.contains("TEST(") && has_word(table, name);
    }
    let Some(binary) = file.parent().map(|dir| dir.with_extension("rs")) else { return false };
    let own_harness = fs::read_to_string(&binary).is_ok_and(|text| text.contains("fn main()"));
    !own_harness || has_word(&fs::read_to_string(&binary).unwrap(), name)
}

#[test]
fn every_statement_is_there_once() {
    let mut counts: BTreeMap<u32, u32> = (1..=100).map(|number| (number, 0)).collect();
    for (number, _) in rows() {
        *counts.entry(number).or_default() += 1;
    }
    let wrong: Vec<_> = counts.iter().filter(|&(n, &count)| *n > 100 || count != 1).collect();
    assert!(wrong.is_empty(), "(statement, rows): {wrong:?}");
}

#[test]
fn every_statement_is_shown_or_given_a_reason() {
    for (number, row) in rows() {
        let reason = row.shown_by == "none"
            && row.here.strip_prefix("Not meaningful: ").is_some_and(|why| why.len() > 20);
        assert!(is_shown(row.shown_by) || reason, "statement {number}: {}", row.shown_by);
    }
}

#[test]
fn a_promise_shows_nothing() {
    assert!(is_shown("`a.rs::one`") && is_shown("`a.rs::one`, `a.rs::two`"));
    for cell in ["", "none", "issue 4", "`a.rs::one`, issue 4", "soon: `a.rs::one`"] {
        assert!(!is_shown(cell), "{cell}");
    }
}

#[test]
fn every_test_that_is_named_exists_and_runs() {
    let mut wrong = Vec::new();
    for (number, row) in rows() {
        for (file, name) in cited(row.shown_by) {
            let path = find(file);
            if !has_test(&path, name) || !is_listed(&path, name) {
                wrong.push(format!("statement {number}: {file}::{name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "no such tests, or not in the list of their binary: {wrong:#?}");
}

#[test]
fn tests_that_are_not_there_are_noticed() {
    let other = find("documents.rs");
    assert!(has_test(&other, "links_lead_to_files"));
    assert!(!has_test(&other, "links_lead_to"));
    assert!(!has_test(&other.with_file_name("no_such_file.rs"), "links_lead_to_files"));
    let program = find("c/codes.c");
    assert!(has_test(&program, "statement_95_before_startup"));
    assert!(is_listed(&program, "statement_95_before_startup"));
    assert!(!has_test(&program, "statement_95") && !is_listed(&program, "statement_95"));
    let part = find("kernel_tcp/vendors.rs");
    assert!(part.exists() && !is_listed(&part, "never_listed"));
}
