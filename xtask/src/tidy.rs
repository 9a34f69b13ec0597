//! `cargo xtask tidy`: what no compiler checks.
//!
//! The edges between our crates are decisions: ARCHITECTURE.md lists every one in a block fenced as `edges`,
//! and an edge that the list lacks, or a listed one that is gone, fails.

use anyhow::Context;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Prints every problem; true if there is none.
pub(crate) fn run() -> anyhow::Result<bool> {
    let problems = problems(&crate::root())?;
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    if !problems.is_empty() {
        eprintln!("tidy: {} to mend", problems.len());
    }
    Ok(problems.is_empty())
}

fn problems(root: &Path) -> anyhow::Result<Vec<String>> {
    let architecture =
        fs::read_to_string(root.join("ARCHITECTURE.md")).context("cannot read ARCHITECTURE.md")?;
    let metadata = metadata(root)?;
    let mut problems = compare(&listed(&architecture)?, &actual(&metadata));
    problems.extend(without_shared_lints(&metadata));
    for path in tracked(root)? {
        // Not text, or removed and not committed yet: nothing to say.
        let Ok(text) = fs::read_to_string(root.join(&path)) else { continue };
        problems.extend(in_file(&path, &text, &machine_paths(root)));
    }
    Ok(problems)
}

fn metadata(root: &Path) -> anyhow::Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata printed")
}

/// Reads lines like `pipeline: client model` and `pipeline (tests): embedded-kafka`.
fn listed(architecture: &str) -> anyhow::Result<Edges> {
    let mut edges = Edges::new();
    let mut inside = false;
    for line in architecture.lines() {
        match line.trim() {
            "```edges" => inside = true,
            "```" => inside = false,
            line if inside && !line.is_empty() => {
                let (from, to) = line
                    .split_once(':')
                    .with_context(|| format!("ARCHITECTURE.md: no colon in edge line `{line}`"))?;
                edges.insert(from.trim().to_owned(), to.split_whitespace().map(str::to_owned).collect());
            }
            _ => {}
        }
    }
    anyhow::ensure!(!edges.is_empty(), "ARCHITECTURE.md has no block fenced as ```edges");
    Ok(edges)
}

fn actual(metadata: &Value) -> Edges {
    let mut edges = Edges::new();
    for package in array(metadata, "packages") {
        let name = string(package, "name");
        edges.entry(name.to_owned()).or_default();
        for dependency in array(package, "dependencies") {
            if dependency["path"].is_null() {
                continue; // borrowed
            }
            let from =
                if string(dependency, "kind") == "dev" { format!("{name} (tests)") } else { name.to_owned() };
            edges.entry(from).or_default().insert(string(dependency, "name").to_owned());
        }
    }
    edges
}

fn compare(listed: &Edges, actual: &Edges) -> Vec<String> {
    let none = BTreeSet::new();
    let mut problems = Vec::new();
    for from in listed.keys().chain(actual.keys()).collect::<BTreeSet<_>>() {
        let (wanted, found) = (listed.get(from).unwrap_or(&none), actual.get(from).unwrap_or(&none));
        for to in found.difference(wanted) {
            problems.push(format!("{from} depends on {to}: ARCHITECTURE.md does not list that edge"));
        }
        for to in wanted.difference(found) {
            problems.push(format!("ARCHITECTURE.md lists {from} -> {to}: there is no such edge"));
        }
        if !listed.contains_key(from) && found.is_empty() {
            problems.push(format!("ARCHITECTURE.md does not list the crate {from}"));
        }
        if !actual.contains_key(from) && wanted.is_empty() {
            problems.push(format!("ARCHITECTURE.md lists {from}: there is no such crate"));
        }
    }
    problems
}

fn without_shared_lints(metadata: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for package in array(metadata, "packages") {
        let manifest = string(package, "manifest_path");
        let text = fs::read_to_string(manifest).unwrap_or_default();
        if !text.contains("[lints]\nworkspace = true") {
            problems
                .push(format!("{}: Cargo.toml lacks `[lints] workspace = true`", string(package, "name")));
        }
    }
    problems
}

fn tracked(root: &Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .context("cannot run git ls-files")?;
    anyhow::ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Beginnings of paths that exist on one machine only.
fn machine_paths(root: &Path) -> Vec<String> {
    let mut paths = vec![format!("{}/", root.display())];
    if let Some(home) = std::env::var_os("HOME").filter(|home| home.len() > 1) {
        paths.push(format!("{}/", home.display()));
    }
    paths
}

const LINES_MAX: usize = 900;

fn in_file(path: &str, text: &str, machine_paths: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    let rust = path.ends_with(".rs");
    for (at, line) in text.lines().enumerate() {
        let at = at + 1;
        if path != "Cargo.lock" && machine_paths.iter().any(|machine| line.contains(machine.as_str())) {
            problems.push(format!("{path}:{at}: a path of this machine"));
        }
        if rust && is_banner(line) {
            problems.push(format!("{path}:{at}: a banner; one idea a file, so make it two"));
        }
    }
    if rust && text.lines().count() > LINES_MAX {
        problems.push(format!("{path}: over {LINES_MAX} lines; is it one idea?"));
    }
    problems
}

/// `// ---- something ----`, `//=====` and the like.
fn is_banner(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("//") else { return false };
    let comment = comment.trim_start_matches(['/', '!']).trim_start();
    ["----", "====", "****", "####", "~~~~"].iter().any(|rule| comment.starts_with(rule))
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(text: &str) -> Edges {
        listed(&format!("```edges\n{text}\n```\n")).unwrap()
    }

    #[test]
    fn the_repository_is_tidy() {
        assert_eq!(problems(&crate::root()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_edge_that_nobody_wrote_down_is_a_problem_and_so_is_one_that_is_gone() {
        let written = edges("model:\nclient: model\nclient (tests): embedded-kafka");
        assert_eq!(compare(&written, &written), Vec::<String>::new());
        let found = edges("model:\nclient: model protocol");
        assert_eq!(
            compare(&written, &found),
            [
                "client depends on protocol: ARCHITECTURE.md does not list that edge",
                "ARCHITECTURE.md lists client (tests) -> embedded-kafka: there is no such edge",
            ]
        );
        assert_eq!(compare(&edges("model:"), &edges("model:\nnew:")).len(), 1);
        assert!(listed("no block").is_err());
    }

    #[test]
    fn banners_and_paths_of_this_machine_are_found() {
        let machine = ["/somewhere/".to_owned()];
        let banner = format!("    // {} parsing", "-".repeat(8));
        assert_eq!(in_file("a.rs", &banner, &machine).len(), 1);
        assert_eq!(in_file("a.rs", "//! | a | b |\n//! | --- | --- |\nlet a = b; // why", &machine).len(), 0);
        assert_eq!(in_file("a.md", "see /somewhere/else", &machine).len(), 1);
    }
}
