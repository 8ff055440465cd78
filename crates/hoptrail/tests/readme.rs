//! What the documents say of the library's examples.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// README: a cooperating proxy is twenty lines. The kernel test `the_minimal_proxy` runs it.
#[test]
fn the_readmes_proxy_is_the_minimal_one() {
    let proxy = read("examples/minimal_proxy.rs");
    assert!(proxy.lines().count() <= 20);
    assert!(read("../../README.md").contains(&format!("```rust\n{proxy}```\n")));
}

#[test]
fn every_example_has_less_than_sixty_lines() {
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap()
    {
        let path = entry.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 60, "{}: {lines}", path.display());
    }
}
