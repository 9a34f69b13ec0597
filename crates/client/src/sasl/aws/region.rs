//! Which region a broker is in, and what belongs to a region.
//!
//! Source: RegionUtils of aws-msk-iam-auth, which looks for the SDK's list of regions in the host's name; here it is
//! looked for what all of them are like, so that new ones are found, too.

const AREAS: [&str; 11] = ["af", "ap", "ca", "cn", "eu", "eusc", "il", "me", "mx", "sa", "us"];
const DIRECTIONS: [&str; 9] =
    ["central", "east", "north", "northeast", "northwest", "south", "southeast", "southwest", "west"];

/// The region in the name of a host, as in `b-1.demo.abcdef.c2.kafka.us-west-2.amazonaws.com`; of several the last.
pub(super) fn of_host(host: &str) -> Option<String> {
    host.split('.').rev().find_map(|label| {
        let parts: Vec<&str> = label.split('-').collect();
        let windows = (0..parts.len()).rev().flat_map(|start| [4, 3].map(|length| (start, length)));
        let regions = windows.filter_map(|(start, length)| parts.get(start..start + length));
        regions.into_iter().find(|parts| is_region(parts)).map(|parts| parts.join("-"))
    })
}

/// Area, perhaps a part of it, direction, number.
fn is_region(parts: &[&str]) -> bool {
    let (area, part, direction, number) = match parts {
        [area, direction, number] => (area, None, direction, number),
        [area, part, direction, number] => (area, Some(part), direction, number),
        _ => return false,
    };
    let is_part = |part: &&&str| matches!(**part, "gov" | "de" | "iso" | "isob" | "isof" | "isoe");
    AREAS.contains(area)
        && part.as_ref().is_none_or(is_part)
        && DIRECTIONS.contains(direction)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where AWS's token service answers for a region; `aws-global` is that of all of them.
pub(super) fn sts_host(region: &str) -> String {
    if region == "aws-global" {
        return "sts.amazonaws.com".to_owned();
    }
    format!("sts.{region}.{}", domain(region))
}

/// What a signature for that service says it is for.
pub(super) fn sts_scope(region: &str) -> &str {
    if region == "aws-global" { "us-east-1" } else { region }
}

fn domain(region: &str) -> &'static str {
    let domains = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    domains
        .into_iter()
        .find(|(start, _)| region.starts_with(start))
        .map_or("amazonaws.com", |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_region_is_found_in_the_name_of_a_host() {
        for (host, expected) in [
            ("b-1.unit-test-1.abcdef.kafka.us-west-2.amazonaws.com", Some("us-west-2")),
            ("boot-x.c3.kafka-serverless.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("b-2.t.a.c4.kafka.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("b-3.t.kafka.us-gov-east-1.amazonaws.com", Some("us-gov-east-1")),
            ("vpce-0a1.svc-us-east-1.x.vpce.amazonaws.com", Some("us-east-1")),
            ("kafka-ap-southeast-7.corp.example", Some("ap-southeast-7")),
            ("b-1.us-east-1.c1.kafka.eu-west-1.amazonaws.com", Some("eu-west-1")),
            ("b-1.t.kafka.eusc-de-east-1.amazonaws.eu", Some("eusc-de-east-1")),
            ("east-kafka-1.corp.example", None),
            ("us-kafka-1.example", None),
            ("us-west-.example", None),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(of_host(host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn the_token_service_is_that_of_the_region() {
        assert_eq!(sts_host("aws-global"), "sts.amazonaws.com");
        assert_eq!(sts_host("eu-west-1"), "sts.eu-west-1.amazonaws.com");
        assert_eq!(sts_host("cn-north-1"), "sts.cn-north-1.amazonaws.com.cn");
        assert_eq!((sts_scope("aws-global"), sts_scope("eu-west-1")), ("us-east-1", "eu-west-1"));
    }

    proptest! {
        #[test]
        fn whatever_a_host_is_called_nothing_panics(host: String, dashed in "[a-z0-9.-]{0,60}") {
            let _ = (of_host(&host), of_host(&dashed));
        }
    }
}
