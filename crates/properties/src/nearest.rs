//! The known name nearest to an unknown one.

/// The candidate nearest to `name`, if one is near enough to be meant: up to one change in four
/// characters, of those that `distance` counts. Of equally near ones the first.
pub(crate) fn nearest<C: AsRef<str>>(name: &str, candidates: impl Iterator<Item = C>) -> Option<C> {
    let name: Vec<char> = name.to_lowercase().chars().take(NAME_CHARS_MAX + 1).collect();
    if name.len() > NAME_CHARS_MAX {
        return None;
    }
    let limit = (name.len() / 4).min(4);
    let mut best: Option<(usize, C)> = None;
    for candidate in candidates {
        let other: Vec<char> = candidate.as_ref().to_lowercase().chars().collect();
        if other.len().abs_diff(name.len()) > limit {
            continue;
        }
        let distance = distance(&name, &other);
        if distance <= limit && best.as_ref().is_none_or(|(least, _)| distance < *least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Longer names are not compared: no property comes near, and the cost grows with the square.
const NAME_CHARS_MAX: usize = 100;

/// How many characters must be added, dropped, changed or swapped with their neighbour (each at most
/// once) to make `a` of `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<&str>) {
        let known = ["topic.whitelist", "topic.rename.format", "tasks.max", "name"];
        assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
    }

    #[test]
    fn a_slip_finds_the_name_that_was_meant_and_another_word_finds_none() {
        check("topic.whitelst", Some("topic.whitelist"));
        check("topics.whitelist", Some("topic.whitelist"));
        check("topic.whtielist", Some("topic.whitelist"));
        check("topic-rename-format", Some("topic.rename.format"));
        check("Tasks.Max", Some("tasks.max"));
        check("task.max", Some("tasks.max"));
        check("nmae", Some("name"));
        check("zzzz", None);
        check("something.else", None);
        check("", None);
    }
}
