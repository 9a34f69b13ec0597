//! ApiVersions: which requests this profile answers.
//!
//! The one request whose answer does not need its version to be known: an unknown one is answered in
//! version 0 with UNSUPPORTED_VERSION, and from 2.4 on with the range of ApiVersions itself.

use protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
use protocol::server::{self, RequestKind};
use protocol::{ApiKey, ErrorCode};

use crate::profile::Profile;
use crate::requests::{Answer, Ask, text};

pub(super) fn answer(ask: &Ask, profile: Profile, request: &RequestKind) -> Answer {
    let listed = |(api, lowest, highest): (ApiKey, i16, i16)| {
        ApiVersion::default().with_api_key(api as i16).with_min_version(lowest).with_max_version(highest)
    };
    let RequestKind::ApiVersions(request) = request else {
        return unsupported(ask, profile);
    };
    if !profile.answers(ApiKey::ApiVersions, ask.version) {
        return unsupported(ask, profile);
    }
    let mut response = ApiVersionsResponse::default();
    if let Some(code) = ask.fails_whole() {
        response.error_code = code.0;
    } else if ask.version >= 3 && !has_valid_software(request) {
        response.error_code = ErrorCode::INVALID_REQUEST.0;
    }
    response.api_keys = profile.versions().map(listed).collect();
    if ask.version >= 3
        && let Some(metadata_version) = profile.metadata_version()
    {
        let mut features = vec![("metadata.version", 1, metadata_version)];
        if profile.transaction_version() > 0 {
            features.push(("transaction.version", 0, profile.transaction_version()));
        }
        response.finalized_features_epoch = 1;
        for (name, lowest, highest) in features {
            // Version 3 cannot say that a feature starts at 0, so such are left out of it (KAFKA-17011).
            if lowest > 0 || ask.version >= 4 {
                let supported = SupportedFeatureKey::default().with_name(text(name));
                response
                    .supported_features
                    .push(supported.with_min_version(lowest).with_max_version(highest));
            }
            let finalized = FinalizedFeatureKey::default().with_name(text(name));
            response
                .finalized_features
                .push(finalized.with_min_version_level(highest).with_max_version_level(highest));
        }
    }
    ask.encode(&response)
}

fn unsupported(ask: &Ask, profile: Profile) -> Answer {
    let mut response = ApiVersionsResponse::default().with_error_code(ErrorCode::UNSUPPORTED_VERSION.0);
    if profile >= Profile::V2_8 {
        let own = profile.versions().filter(|(api, _, _)| *api == ApiKey::ApiVersions);
        response.api_keys = own
            .map(|(api, lowest, highest)| {
                ApiVersion::default()
                    .with_api_key(api as i16)
                    .with_min_version(lowest)
                    .with_max_version(highest)
            })
            .collect();
    }
    match server::encode_response(ApiKey::ApiVersions, 0, ask.correlation_id, &response) {
        Ok(frame) => Answer::Frame { slices: vec![frame], log_bytes: 0 },
        Err(error) => Answer::Close(format!("cannot answer: {error}")),
    }
}

/// KIP-511: letters, digits, `-` and `.`, not at the ends.
fn has_valid_software(request: &ApiVersionsRequest) -> bool {
    let valid = |text: &str| {
        let ends = [text.bytes().next(), text.bytes().next_back()];
        ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    valid(&request.client_software_name) && valid(&request.client_software_version)
}
