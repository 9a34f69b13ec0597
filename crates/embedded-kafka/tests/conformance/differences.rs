//! Where this crate and Kafka are known to differ, and why.

use embedded_kafka::Profile;

use crate::desk::Line;

/// A check that differs under some profiles.
pub(crate) struct Known {
    /// The whole name of the check.
    check: &'static str,
    profiles: &'static [Profile],
    reason: &'static str,
}

const NOT_IN_THE_LIBRARY: &str = "the message library does not have the highest version";

/// Of what everybody may ask.
pub(crate) const OF_ANSWERS: &[Known] = &[
    Known { check: "version of ListOffsets", profiles: &[Profile::V4_3], reason: NOT_IN_THE_LIBRARY },
    Known { check: "version of OffsetCommit", profiles: &[Profile::V4_3], reason: NOT_IN_THE_LIBRARY },
    Known { check: "version of OffsetFetch", profiles: &[Profile::V4_3], reason: NOT_IN_THE_LIBRARY },
];

const FEWER_WORDS: &str = "1.1 does not say what is wrong with a token, and nothing reads these words";
const NULL_WORDS: &str = "1.1 has null where later versions have no words, and nothing reads these";

/// Of logins and access.
pub(crate) const OF_LOGINS: &[Known] = &[
    Known { check: "words for a login with two tokens", profiles: &[Profile::V1_1], reason: FEWER_WORDS },
    Known { check: "words for a login with nothing", profiles: &[Profile::V1_1], reason: FEWER_WORDS },
    Known {
        check: "words for a login with its own identity",
        profiles: &[Profile::V1_1],
        reason: NULL_WORDS,
    },
    Known {
        check: "words for a login with the right password",
        profiles: &[Profile::V1_1],
        reason: NULL_WORDS,
    },
];

/// What differs without a reason, and what has a reason and does not differ. The lines are compared in their order, and
/// each as often as it comes.
pub(crate) fn unexplained(known: &[Known], profile: Profile, theirs: &[Line], ours: &[Line]) -> Vec<String> {
    let known: Vec<&Known> = known.iter().filter(|known| known.profiles.contains(&profile)).collect();
    let different = different(theirs, ours);
    let unknown = different.iter().filter(|(_, line)| known.iter().all(|known| known.check != line.check));
    let mut told: Vec<String> =
        unknown.map(|(sign, line)| format!("{sign} {}: {}", line.check, line.answer)).collect();
    let occurs = |known: &Known| different.iter().any(|(_, line)| line.check == known.check);
    told.extend(
        known
            .iter()
            .filter(|known| !occurs(known))
            .map(|known| format!("listed, but does not occur: {} ({})", known.check, known.reason)),
    );
    told
}

/// The lines that only one side has, `-` for theirs and `+` for ours, beside a longest sequence that both have.
fn different<'a>(theirs: &'a [Line], ours: &'a [Line]) -> Vec<(char, &'a Line)> {
    let (rows, columns) = (theirs.len(), ours.len());
    // The length of what both have from there on.
    let mut common = vec![vec![0u32; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = match theirs[row] == ours[column] {
                true => common[row + 1][column + 1] + 1,
                false => common[row + 1][column].max(common[row][column + 1]),
            };
        }
    }
    let (mut row, mut column, mut found) = (0, 0, Vec::new());
    while row < rows || column < columns {
        if row < rows && column < columns && theirs[row] == ours[column] {
            (row, column) = (row + 1, column + 1);
        } else if column == columns || (row < rows && common[row + 1][column] >= common[row][column + 1]) {
            found.push(('-', &theirs[row]));
            row += 1;
        } else {
            found.push(('+', &ours[column]));
            column += 1;
        }
    }
    found
}

#[test]
fn order_repetition_and_reasons_without_a_difference_are_told() {
    const KNOWN: &[Known] = &[Known { check: "b", profiles: &[Profile::V4_3], reason: "so" }];
    let lines = |checks: &str| -> Vec<Line> {
        let line = |check: char| Line { check: check.to_string(), answer: "1".to_owned() };
        checks.chars().map(line).collect()
    };
    let check = |known, theirs, ours, expected: &[&str]| {
        assert_eq!(
            unexplained(known, Profile::V4_3, &lines(theirs), &lines(ours)),
            expected,
            "{theirs} {ours}"
        );
    };
    check(&[], "abc", "abc", &[]);
    check(&[], "acd", "cad", &["- a: 1", "+ a: 1"]);
    check(&[], "aab", "ab", &["- a: 1"]);
    check(&[], "ab", "abb", &["+ b: 1"]);
    check(KNOWN, "ab", "a", &[]);
    check(KNOWN, "ab", "ab", &["listed, but does not occur: b (so)"]);
    assert_eq!(unexplained(KNOWN, Profile::V3_9, &lines("ab"), &lines("a")), ["- b: 1"]);
}
