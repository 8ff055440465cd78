//! What the documents of the project promise by example: links lead somewhere, and configurations are right.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use hoptrail_engine::config::Config;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn documents() -> Vec<PathBuf> {
    let of = |dir: PathBuf| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = of(root()).chain(of(root().join("docs"))).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found
}

/// Targets of the links within the tree, without `#anchors`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter_map(|target| {
        let path = target.split('#').next().unwrap_or_default();
        (!path.is_empty() && !target.contains("://")).then_some(path)
    })
}

#[test]
fn links_lead_to_files() {
    let mut count = 0;
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            count += 1;
            if !document.parent().unwrap().join(link).exists() {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(count > 10, "{count} links are too few: is the search broken?");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn configurations_of_the_readme_are_right() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut count = 0;
    for block in readme.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let config = Config::from_texts([(PathBuf::from("README.md"), text.to_owned())]).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        count += 1;
    }
    assert!(count > 0, "README.md has no configuration");
}
