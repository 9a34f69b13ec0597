//! Where this crate and Kafka are known to differ, and why.

use embedded_kafka::Profile;

/// A check, by the beginning of its line, that may differ under some profiles.
struct Known {
    check: &'static str,
    profiles: &'static [Profile],
    /// For whoever reads this.
    _reason: &'static str,
}

const NOT_IN_THE_LIBRARY: &str = "the message library does not have the highest version";

const KNOWN: &[Known] = &[
    Known { check: "version of ListOffsets", profiles: &[Profile::V4_3], _reason: NOT_IN_THE_LIBRARY },
    Known { check: "version of OffsetCommit", profiles: &[Profile::V4_3], _reason: NOT_IN_THE_LIBRARY },
    Known { check: "version of OffsetFetch", profiles: &[Profile::V4_3], _reason: NOT_IN_THE_LIBRARY },
    // Nothing reads these words.
    Known {
        check: "a login with",
        profiles: &[Profile::V1_1],
        _reason: "1.1 words it otherwise, or not at all",
    },
];

/// The lines that differ without a reason.
pub(crate) fn unexplained(profile: Profile, theirs: &[String], ours: &[String]) -> Vec<String> {
    let is_known = |line: &str| {
        KNOWN.iter().any(|known| known.profiles.contains(&profile) && line.starts_with(known.check))
    };
    let missing = theirs.iter().filter(|line| !ours.contains(line)).map(|line| format!("- {line}"));
    let extra = ours.iter().filter(|line| !theirs.contains(line)).map(|line| format!("+ {line}"));
    let mut different: Vec<String> = missing.chain(extra).filter(|line| !is_known(&line[2..])).collect();
    // Both sides of a check beside each other.
    different.sort_by(|one, other| one[2..].cmp(&other[2..]));
    different
}
