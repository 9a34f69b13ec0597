//! What an operator may choose about the data plane, as types.

use std::time::Duration;

use model::{ProducerId, Users};

use crate::life::Policies;

/// How long a broker may have received something and not handled it.
const RECEIVED_FOR: Duration = Duration::from_secs(5);

/// Which records of transactions are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All, those of aborted and open transactions included.
    ReadUncommitted,
    /// Those of committed transactions, up to the last stable offset.
    ReadCommitted,
}

/// What a lane does that finds records at the destination and no trace of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingRecords {
    /// It stops: they may be copies, and copying them again would double them.
    Refuse,
    /// It appends behind them.
    Append,
}

/// How one flow's data plane behaves. [`Options::new`] gives the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// The flow's name: the connector's.
    pub flow: String,
    /// Who we are, for messages.
    pub users: Users,
    /// Whether aborted and open transactions of the source are copied as they stand
    /// (`read_uncommitted`, as Replicator reads) or left out.
    pub isolation: Isolation,
    /// The rack to fetch from where the source offers a choice (KIP-392).
    pub rack: Option<String>,
    /// How long the source may wait for records before it answers an empty fetch.
    pub fetch_wait_max: Duration,
    /// Bytes the source waits for, up to `fetch_wait_max`.
    pub fetch_bytes_min: usize,
    /// Bytes of one fetch reply; `None`: 4 MiB, or as many as the way is long. A broker exceeds it for a single batch
    /// that is larger.
    pub fetch_bytes_max: Option<usize>,
    /// Bytes of one partition within a fetch reply; `None`: 1 MiB, or as many as the way is long.
    pub partition_fetch_bytes_max: Option<usize>,
    /// Bytes of one lane's batches held, unsent and under way; a lane that holds so much reads no further. `None`:
    /// 8 MiB, or as many as the way is long.
    pub lane_bytes_max: Option<usize>,
    /// Bytes of record batches held at any time, over all lanes: the bound on memory. Near brokers take a part of it.
    pub buffer_bytes_max: usize,
    /// Bytes of one produce request, unless a single batch is larger.
    pub produce_bytes_max: usize,
    /// Produce requests in flight on one destination connection; `None`: 5, or as many as are soon answered.
    pub produce_requests_max: Option<usize>,
    /// Tiny batches of a lane that must wait for the destination to be merged.
    pub merge_batches_min: usize,
    /// How long the destination may wait for its replicas before it answers.
    pub produce_timeout: Duration,
    /// How often leaders are looked up without a cause; also how long a lane may have been silent and
    /// still send without a new look at the destination.
    pub metadata_age_max: Duration,
    /// How often progress is written to the store.
    pub flush_interval: Duration,
    /// Wait before a lane in trouble tries again, doubled up to `backoff_max`.
    pub backoff_min: Duration,
    /// The longest such wait where the trouble passes by itself.
    pub backoff_max: Duration,
    /// How often a lane looks whether somebody has mended what does not pass by itself.
    pub recheck_interval: Duration,
    /// Records older than this are copied with one batch in flight a lane, because the destination may
    /// forget the producer's state between any two of them: `producer.id.expiration.ms` less a margin.
    pub aged_after: Duration,
    /// How long after an unknown outcome a log end is trusted where the destination cannot be asked for
    /// the producer's state: one and a half times its `replica.lag.time.max.ms`, because leaders look for followers that
    /// lag twice in that time (`ReplicaManager`, "isr-expiration"), plus a margin for what a broker has received and not
    /// handled yet.
    pub replica_lag_max: Duration,
    /// How long a stop waits for acknowledgements that are under way.
    pub drain_timeout: Duration,
    /// What to do where the destination has records and progress knows nothing of them.
    pub existing_records: ExistingRecords,
    /// What to do about topics that are created anew, cut or overtaken.
    pub life: Policies,
    /// The group at the source whose committed offsets are kept up (`offset.topic.commit`), if any.
    pub source_group: Option<String>,
    /// The group at the source whose committed offset a partition without stored progress starts at
    /// (`offset.start`). Without a group, or a commit of it, a partition starts at its first record.
    pub start_group: Option<String>,
    /// Producer ids of the flow in the other direction: batches that carry one came from here.
    pub opposite_producers: Vec<ProducerId>,
}

impl Options {
    /// The defaults, for the flow named `flow`.
    pub fn new(flow: impl Into<String>) -> Options {
        Options {
            flow: flow.into(),
            users: Users::default(),
            isolation: Isolation::ReadUncommitted,
            rack: None,
            fetch_wait_max: Duration::from_millis(500),
            fetch_bytes_min: 1,
            fetch_bytes_max: None,
            partition_fetch_bytes_max: None,
            lane_bytes_max: None,
            buffer_bytes_max: 32 << 20,
            produce_bytes_max: 4 << 20,
            produce_requests_max: None,
            merge_batches_min: 8,
            produce_timeout: Duration::from_secs(30),
            metadata_age_max: Duration::from_secs(30),
            flush_interval: Duration::from_secs(60),
            backoff_min: Duration::from_millis(250),
            // Longer, and a cluster that is back waits for us. Lanes that look share their requests.
            backoff_max: Duration::from_millis(500),
            recheck_interval: Duration::from_secs(30),
            aged_after: Duration::from_secs(20 * 3600),
            replica_lag_max: Duration::from_secs(50),
            drain_timeout: Duration::from_secs(20),
            existing_records: ExistingRecords::Refuse,
            life: Policies::default(),
            source_group: None,
            start_group: None,
            opposite_producers: Vec::new(),
        }
    }

    /// Fits the two times that rest on the destination's brokers to their settings, given by name; never less careful
    /// than by Kafka's defaults.
    pub(crate) fn heed(&mut self, setting: impl Fn(&str) -> Option<String>) {
        let millis = |name| setting(name)?.parse().ok().map(Duration::from_millis);
        if let Some(lag) = millis("replica.lag.time.max.ms") {
            self.replica_lag_max = self.replica_lag_max.max(lag * 3 / 2 + RECEIVED_FOR);
        }
        // Before 3.5 producers were forgotten together with transactional ids (KIP-854).
        let expiration =
            millis("producer.id.expiration.ms").or_else(|| millis("transactional.id.expiration.ms"));
        if let Some(expiration) = expiration {
            self.aged_after = self.aged_after.min(expiration * 5 / 6);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rests_on_the_brokers_settings_follows_them_where_they_are_stricter() {
        let heeded = |settings: &[(&str, &str)]| {
            let mut options = Options::new("flow");
            options.heed(|name| {
                settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            });
            (options.replica_lag_max.as_secs(), options.aged_after.as_secs())
        };
        let defaults = [("replica.lag.time.max.ms", "30000"), ("producer.id.expiration.ms", "86400000")];
        assert_eq!(heeded(&[]), (50, 20 * 3600));
        assert_eq!(heeded(&defaults), (50, 20 * 3600));
        assert_eq!(
            heeded(&[("replica.lag.time.max.ms", "60000"), ("producer.id.expiration.ms", "3600000")]),
            (95, 3000)
        );
        assert_eq!(heeded(&[("transactional.id.expiration.ms", "604800000")]), (50, 20 * 3600));
        assert_eq!(heeded(&[("replica.lag.time.max.ms", "10000")]), (50, 20 * 3600));
    }
}
