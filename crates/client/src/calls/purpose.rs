//! Changes that are made, and changes that a cluster only judges.

use protocol::ApiKey;

use crate::{ApiVersions, CallError, Cluster};

/// What a request for a change is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The change is made.
    Change,
    /// Nothing is changed; the answer is what it would be. See [`Cluster::honours_validate_only`].
    ValidateOnly,
}

impl Purpose {
    pub(super) fn validate_only(self) -> bool {
        self == Purpose::ValidateOnly
    }
}

impl Cluster {
    /// Whether the brokers leave everything as it is where they are asked with [`Purpose::ValidateOnly`].
    ///
    /// With KRaft before 3.3 they do not: they create the partitions (KAFKA-13861), and before 3.1 the topics
    /// (KAFKA-13324).
    ///
    /// # Errors
    /// As for any call.
    pub async fn honours_validate_only(&self) -> Result<bool, CallError> {
        Ok(honours_validate_only(&self.versions(None).await?))
    }
}

/// KRaft brokers list DescribeQuorum, and UpdateFeatures in version 1 since 3.3 (KIP-584, KIP-778).
fn honours_validate_only(versions: &ApiVersions) -> bool {
    let is_kraft = versions.listed(ApiKey::DescribeQuorum).is_some();
    let is_3_3 = versions.listed(ApiKey::UpdateFeatures).is_some_and(|(_, highest)| highest >= 1);
    !is_kraft || is_3_3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_early_kraft_does_what_it_is_asked_to_judge() {
        let check = |listed: &[(ApiKey, i16)], expected: bool| {
            let versions = ApiVersions::new(listed.iter().map(|(api, highest)| (*api, 0, *highest)));
            assert_eq!(honours_validate_only(&versions), expected, "{listed:?}");
        };
        check(&[(ApiKey::CreateTopics, 2)], true); // 1.1
        check(&[(ApiKey::UpdateFeatures, 0)], true); // 2.8 with ZooKeeper
        check(&[(ApiKey::DescribeQuorum, 0), (ApiKey::UpdateFeatures, 0)], false); // 3.2
        check(&[(ApiKey::DescribeQuorum, 0), (ApiKey::UpdateFeatures, 1)], true); // 3.3
    }
}
