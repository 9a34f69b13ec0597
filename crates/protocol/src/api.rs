//! The requests this program sends, and the versions of them.

use std::ops::RangeInclusive;

pub use kafka_protocol::messages::ApiKey;

/// The versions of `api` that this program speaks as a client; empty where it never sends it.
///
/// Brokers from 1.1 to 4.x share at least one version of each with us, as far as they know the request.
pub fn supported(api: ApiKey) -> RangeInclusive<i16> {
    match api {
        // 3 is the first with v2 batches. 12 means transactions of the second kind whatever the cluster
        // says (KIP-890), 13 names topics by id.
        ApiKey::Produce => 3..=11,
        // 4 is the first with v2 batches. 18 is for replicas.
        ApiKey::Fetch => 4..=17,
        ApiKey::ListOffsets => 1..=9,
        // 4 is the first that can be told not to create topics.
        ApiKey::Metadata => 4..=12,
        ApiKey::ApiVersions => 0..=3,
        ApiKey::InitProducerId => 0..=4,
        // Lower ones need ClusterAction, and the generated messages do not have them.
        ApiKey::OffsetForLeaderEpoch => 2..=4,
        ApiKey::DescribeProducers => 0..=0,
        ApiKey::CreateTopics => 2..=7,
        ApiKey::CreatePartitions => 0..=3,
        ApiKey::DescribeConfigs => 1..=4,
        ApiKey::AlterConfigs => 0..=2,
        ApiKey::IncrementalAlterConfigs => 0..=1,
        // From 4 one request asks for several groups, of which we have no use.
        ApiKey::FindCoordinator => 1..=3,
        // From 8 one request asks for several groups.
        ApiKey::OffsetFetch => 2..=7,
        ApiKey::OffsetCommit => 2..=8,
        // 0 has no prefixes, and the generated messages do not have it: Kafka 2.0 is the first with 1.
        ApiKey::DescribeAcls | ApiKey::CreateAcls | ApiKey::DeleteAcls => 1..=3,
        // After version 0 the mechanism's bytes come bare, not as requests.
        ApiKey::SaslHandshake => 1..=1,
        ApiKey::SaslAuthenticate => 0..=2,
        #[expect(clippy::reversed_empty_ranges, reason = "the empty range says that we never send it")]
        _ => 1..=0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_we_speak_is_one_the_generated_messages_have() {
        for api in ApiKey::iter() {
            let ours = supported(api);
            let theirs = api.valid_versions();
            if !ours.is_empty() {
                assert!(*ours.start() >= theirs.min && *ours.end() <= theirs.max, "{api:?}");
            }
        }
    }
}
