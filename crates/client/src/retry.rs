//! What an error code means: the one place that says what may be tried again.

use protocol::ErrorCode;

/// What to do about an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Passes by itself: ask the same broker again after a pause. Nothing was done.
    Retry,
    /// Our picture of the cluster is old: read metadata, then ask whoever is right now. Nothing was done.
    RefreshAndRetry,
    /// It may have been done, or will be: look before asking again.
    UnknownOutcome,
    /// Stays until a person, or the control plane, changes something at the cluster.
    OperatorNeeded,
    /// Asking again with the same bytes cannot help.
    Fatal,
}

/// What `error` means. [`ErrorCode::NONE`] is no error and must not be asked about; it is
/// [`Class::Fatal`], as is every code that this program does not know.
pub fn classify(error: ErrorCode) -> Class {
    use Class::{Fatal, OperatorNeeded, RefreshAndRetry, Retry, UnknownOutcome};
    match error {
        // A bug or a plug-in of the broker failed somewhere; brokers before 2.4 say so for bad records too.
        ErrorCode::UNKNOWN_SERVER_ERROR => UnknownOutcome,
        // The replicas did not confirm in time; the leader has it.
        ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => UnknownOutcome,
        // The broker lost a connection of its own while it worked on ours.
        ErrorCode::NETWORK_EXCEPTION => UnknownOutcome,
        // Appended earlier, where is not said (0.11 only).
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => UnknownOutcome,
        // The log is not where we think: behind a failed batch it is expected, at the head it asks for a look.
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => UnknownOutcome,

        // Too few replicas in sync: checked before the append.
        ErrorCode::NOT_ENOUGH_REPLICAS => Retry,
        // The broker's metadata is behind ours.
        ErrorCode::UNKNOWN_LEADER_EPOCH => Retry,
        // A young leader has not learnt the high watermark yet.
        ErrorCode::OFFSET_NOT_AVAILABLE => Retry,
        // A coordinator reads its log, or allocates a block of producer ids (young clusters, measured).
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => Retry,
        // An earlier transaction is still being completed.
        ErrorCode::CONCURRENT_TRANSACTIONS | ErrorCode::UNSTABLE_OFFSET_COMMIT => Retry,
        // The group is dividing its partitions.
        ErrorCode::REBALANCE_IN_PROGRESS => Retry,
        // A quota on changes: the reply says how long to wait.
        ErrorCode::THROTTLING_QUOTA_EXCEEDED => Retry,
        // Replicas of the topic are on the move.
        ErrorCode::REASSIGNMENT_IN_PROGRESS => Retry,
        // A fetch session is gone or confused: the next request starts a new one.
        ErrorCode::FETCH_SESSION_ID_NOT_FOUND
        | ErrorCode::INVALID_FETCH_SESSION_EPOCH
        | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR => Retry,

        // The leadership is, or was just, elsewhere.
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::REPLICA_NOT_AVAILABLE
        | ErrorCode::BROKER_NOT_AVAILABLE
        | ErrorCode::LISTENER_NOT_FOUND
        | ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE
        | ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE => RefreshAndRetry,
        // The disk under the leader failed; the leadership moves.
        ErrorCode::KAFKA_STORAGE_ERROR => RefreshAndRetry,
        // Said right after creation and election as well as for a topic that is gone: metadata tells which.
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID => RefreshAndRetry,
        // The controller or the coordinator is another broker by now.
        ErrorCode::NOT_CONTROLLER | ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => {
            RefreshAndRetry
        }

        // Permissions, security settings.
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | ErrorCode::DELEGATION_TOKEN_AUTHORIZATION_FAILED
        | ErrorCode::SASL_AUTHENTICATION_FAILED
        | ErrorCode::UNSUPPORTED_SASL_MECHANISM
        | ErrorCode::ILLEGAL_SASL_STATE
        | ErrorCode::SECURITY_DISABLED => OperatorNeeded,
        // The topic will not have the record: a limit, a policy, a compacted topic without a key.
        ErrorCode::MESSAGE_TOO_LARGE
        | ErrorCode::RECORD_LIST_TOO_LARGE
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::INVALID_RECORD
        | ErrorCode::POLICY_VIOLATION
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE => OperatorNeeded,
        // The cluster as it is cannot have the topic as asked: too few brokers, mostly.
        ErrorCode::INVALID_REPLICATION_FACTOR
        | ErrorCode::INVALID_PARTITIONS
        | ErrorCode::INVALID_REPLICA_ASSIGNMENT
        | ErrorCode::INVALID_CONFIG
        | ErrorCode::TOPIC_DELETION_DISABLED => OperatorNeeded,
        // Someone raised our producer's epoch.
        ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => OperatorNeeded,
        // Truncated, overtaken by retention, or recreated: to be told apart first.
        ErrorCode::OFFSET_OUT_OF_RANGE => OperatorNeeded,

        // Damage on the way, or (before 2.4) any refusal of a record: retriable in Java, for ever.
        ErrorCode::CORRUPT_MESSAGE => Fatal,
        // A version, a request or a name that cannot be right, and everything unknown.
        _ => Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_happened_is_never_simply_retried() {
        for code in [-1, 7, 13, 20, 45, 46, 59] {
            assert_eq!(classify(ErrorCode(code)), Class::UnknownOutcome, "{}", ErrorCode(code));
        }
    }

    #[test]
    fn unknown_codes_are_not_retried() {
        assert_eq!(classify(ErrorCode(4711)), Class::Fatal);
        assert_eq!(classify(ErrorCode::UNSUPPORTED_VERSION), Class::Fatal);
        assert_eq!(classify(ErrorCode::CORRUPT_MESSAGE), Class::Fatal);
    }

    #[test]
    fn a_moved_leader_asks_for_metadata() {
        for code in [3, 5, 6, 74, 100] {
            assert_eq!(classify(ErrorCode(code)), Class::RefreshAndRetry, "{}", ErrorCode(code));
        }
    }
}
