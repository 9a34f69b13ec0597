//! The manual of properties, made of the table.

use std::fmt::Write;

use crate::table::{Group, Property, SCOPES, Scope, Status};

const INTRODUCTION: &str = "\
# Properties

Every property that is known, as the files of Kafka Connect and Confluent Replicator write them. Made from the
table in `crates/properties/src/table`; do not edit.

A property is written once below, without the prefix under which it stands. A name that ends in `*` stands for
all that begin so. Unknown properties are ignored with a warning that names the nearest known one.

| Here | means |
| --- | --- |
| used | read and followed |
| no meaning | accepted without effect, because nothing here corresponds to it; named in one line at the start |
| not built yet | recognised; without effect, and named in one line at the start |
| refused | recognised, but not built yet, and ignoring it would change what is copied: stops the start |

How a connection is secured, `security.protocol` says, as in Kafka: under `PLAINTEXT`, its default, `ssl.*` and
`sasl.*` have no effect, which is told; given without any protocol they are refused, because who writes them means
them. What is \"not built yet\" or refused below is so where the protocol and the mechanism give it an effect. A
value may be taken from config providers, `${provider:path:key}`, by Kafka Connect's rules; what is shown then is what
stands in the file. See [Securing connections](../guide/security.md).
";

/// The reference page of all properties, in Markdown.
pub fn reference_markdown() -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n## Where properties stand\n\n| File | Prefix | For |\n| --- | --- | --- |\n");
    for scope in SCOPES {
        let prefix = if scope.prefix.is_empty() { "none".to_owned() } else { format!("`{}`", scope.prefix) };
        row(&mut page, &[&scope.file.to_string(), &prefix, scope.says]);
    }
    for group in groups() {
        write!(page, "\n## {}\n\n{}\n\n", group.title, places(group)).expect("a String takes all text");
        page.push_str("| Property | Type | Default | What it is | Here |\n| --- | --- | --- | --- | --- |\n");
        for property in group.properties {
            let default = property.default.map_or_else(String::new, |default| format!("`{default}`"));
            row(
                &mut page,
                &[
                    &format!("`{}`", property.name),
                    &property.kind.to_string(),
                    &default,
                    property.says,
                    &here(property),
                ],
            );
        }
    }
    page
}

fn row(page: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(page, "| {} |", cells.join(" | ")).expect("a String takes all text");
}

/// Each group once: what stands without a prefix first.
fn groups() -> Vec<&'static Group> {
    let (bare, prefixed): (Vec<&Scope>, Vec<&Scope>) =
        SCOPES.iter().partition(|scope| scope.prefix.is_empty());
    let mut groups: Vec<&'static Group> = Vec::new();
    for group in bare.into_iter().chain(prefixed).flat_map(|scope| scope.groups.iter().copied()) {
        if !groups.iter().any(|other| other.title == group.title) {
            groups.push(group);
        }
    }
    groups
}

fn places(group: &Group) -> String {
    let scopes = SCOPES.iter().filter(|scope| scope.groups.iter().any(|other| other.title == group.title));
    let places: Vec<String> = scopes
        .map(|scope| match scope.prefix {
            "" => format!("in a {}'s file", scope.file),
            prefix => format!("under `{prefix}` in a {}'s file", scope.file),
        })
        .collect();
    let text = places.join(", ");
    text[..1].to_uppercase() + &text[1..] + "."
}

fn here(property: &Property) -> String {
    match property.status {
        Status::Used => "used".to_owned(),
        Status::NoMeaning(why) => format!("no meaning: {}", why.as_str()),
        Status::NotBuilt { refuse: false, feature, .. } => format!("not built yet: {}", feature.as_str()),
        Status::NotBuilt { refuse: true, feature, off: [] } => {
            format!("refused if set: {}", feature.as_str())
        }
        Status::NotBuilt { refuse: true, feature, off } => {
            let off: Vec<String> = off.iter().map(|off| format!("`{off}`")).collect();
            format!("refused: {}; accepted: {}", feature.as_str(), off.join(", "))
        }
        Status::Misnomer(meant) => format!("ignored; probably meant: `{meant}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::lookup;

    #[test]
    fn the_page_has_a_row_for_every_property_and_five_cells_in_each() {
        let page = reference_markdown();
        for scope in SCOPES {
            for property in scope.groups.iter().flat_map(|group| group.properties) {
                assert!(page.contains(&format!("| `{}` | ", property.name)), "{}", property.name);
                let name = property.name.replace('*', "anything");
                assert!(lookup(scope.file, &format!("{}{name}", scope.prefix)).is_some(), "{name}");
            }
        }
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let cells = line.replace("\\|", "").matches('|').count() - 1;
            assert_eq!(cells, 5, "{line}");
        }
    }
}
