//! Asks brokers what is there: the calls behind an opening lane's questions.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use client::{
    CallError, Class, Cluster, ErrorCode, FetchOptions, FetchPartition, Fetcher, OffsetSpec, ProducerState,
    classify, fetch_tells_divergence, fetches_by_topic_id,
};
use model::{BrokerId, LeaderEpoch, Offset, TopicPartition};
use record_batch::{Entry, split};
use std::time::Duration;

use crate::contents::Contents;
use crate::events::{LaneKey, ProducerKey, SourceEvidence};
use crate::place::{Evidence, ProducerEvidence, Tail, TailFrom, TailOurs, TailScan};
use crate::trouble::{Side, Trouble};

/// How much of a destination's tail is searched for our last batch, where its newest batch is not ours.
const TAIL_BYTES_MAX: usize = 1 << 30;
/// So many records are compared at most: 16 bytes each, on either side.
const COMPARED_RECORDS_MAX: usize = 4 << 20;
/// Bytes of one fetch of the tail.
const TAIL_FETCH_BYTES: usize = 4 << 20;
/// How long such a fetch may wait: the records are there.
const TAIL_WAIT: Duration = Duration::from_millis(500);

type Lanes = [(LaneKey, TopicPartition)];
type Looked<T> = Vec<(LaneKey, Result<T, Trouble>)>;

/// The bounds of source partitions led by `broker`; the offsets committed under `group`, where one is given; the ends of
/// `epochs`.
pub(crate) async fn look_at_source(
    cluster: &Cluster,
    broker: BrokerId,
    lanes: &Lanes,
    (committed_only, group, epochs): (bool, Option<&str>, &[(TopicPartition, LeaderEpoch)]),
) -> Looked<SourceEvidence> {
    let partitions = each_once(lanes.iter().map(|(_, partition)| partition));
    let looked = async {
        let starts = cluster.list_offsets(broker, &partitions, OffsetSpec::Earliest, false).await?;
        let ends = cluster.list_offsets(broker, &partitions, OffsetSpec::Latest, committed_only).await?;
        let watermarks = match committed_only {
            true => cluster.list_offsets(broker, &partitions, OffsetSpec::Latest, false).await?,
            false => ends.clone(),
        };
        let versions = cluster.versions(Some(broker)).await?;
        let epoch_ends = match fetch_tells_divergence(&versions) {
            true => cluster.end_offsets_for_epochs(broker, epochs).await?,
            false => Vec::new(),
        };
        Ok::<_, CallError>((
            (by_partition(starts), by_partition(ends), by_partition(watermarks)),
            by_partition(epoch_ends),
            fetches_by_topic_id(&versions),
        ))
    };
    let keys = || lanes.iter().map(|(key, _)| *key);
    let ((starts, ends, watermarks), epoch_ends, by_id) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return all(keys(), &Trouble::from_call(Side::Source, "ListOffsets", &error)),
    };
    let committed = match group {
        Some(group) => match cluster.committed_offsets(group, &partitions).await {
            Ok(offsets) => by_partition(offsets),
            Err(error) => return all(keys(), &Trouble::from_call(Side::Source, "OffsetFetch", &error)),
        },
        None => HashMap::new(),
    };
    lanes
        .iter()
        .map(|(key, partition)| {
            let evidence = (|| {
                Ok(SourceEvidence {
                    log_start: answer(&starts, partition, Side::Source, "ListOffsets")?,
                    end: answer(&ends, partition, Side::Source, "ListOffsets")?,
                    high_watermark: answer(&watermarks, partition, Side::Source, "ListOffsets")?,
                    committed: match group {
                        Some(_) => answer(&committed, partition, Side::Source, "OffsetFetch")?,
                        None => None,
                    },
                    by_id,
                    epoch_end: epoch_ends.get(partition).and_then(|end| end.ok().flatten()),
                })
            })();
            (*key, evidence)
        })
        .collect()
}

/// What `broker`, the leader, shows of destination partitions: the log's bounds and the state of the producer that each
/// lane writes under.
/// The bounds are asked for first: a batch of ours that is appended between the two calls then shows in the
/// state alone, as one that is not replicated yet does, and the lane looks again. The other way round it would
/// be taken for somebody else's, and the position be wrong for good.
pub(crate) async fn look_at_destination(
    cluster: &Cluster,
    broker: BrokerId,
    lanes: &[(LaneKey, TopicPartition, ProducerKey)],
) -> Looked<Evidence> {
    let partitions = each_once(lanes.iter().map(|(_, partition, _)| partition));
    let keys = || lanes.iter().map(|(key, ..)| *key);
    let looked = async {
        let ends = cluster.list_offsets(broker, &partitions, OffsetSpec::Latest, false).await?;
        let starts = cluster.list_offsets(broker, &partitions, OffsetSpec::Earliest, false).await?;
        Ok::<_, CallError>((by_partition(starts), by_partition(ends)))
    };
    let (starts, ends) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return all(keys(), &Trouble::from_call(Side::Destination, "ListOffsets", &error)),
    };
    let states = match cluster.describe_producers(broker, &partitions).await {
        Ok(states) => Some(by_partition(states)),
        Err(CallError::Unsupported { .. }) => None,
        Err(error) => {
            return all(keys(), &Trouble::from_call(Side::Destination, "DescribeProducers", &error));
        }
    };
    lanes
        .iter()
        .map(|(key, partition, producer)| {
            let evidence = (|| {
                Ok(Evidence {
                    producer: match &states {
                        Some(states) => producer_evidence(states.get(partition), *producer)?,
                        None => ProducerEvidence::Unsupported,
                    },
                    log_start: answer(&starts, partition, Side::Destination, "ListOffsets")?,
                    latest: answer(&ends, partition, Side::Destination, "ListOffsets")?,
                    tail: None,
                })
            })();
            (*key, evidence)
        })
        .collect()
}

fn producer_evidence(
    states: Option<&Result<Vec<ProducerState>, ErrorCode>>,
    (producer, epoch): ProducerKey,
) -> Result<ProducerEvidence, Trouble> {
    match states {
        // Describing needs READ on the topic, copying does not: without it the log's bounds must do.
        Some(Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED)) => Ok(ProducerEvidence::Unsupported),
        Some(Err(error)) => Err(refusal(Side::Destination, "DescribeProducers", *error)),
        None => Err(Trouble::Unanswered(Side::Destination, "DescribeProducers")),
        Some(Ok(states)) => {
            // A last sequence of -1: the epoch is known by a marker only, and nothing was appended in it.
            let ours = states.iter().find(|state| state.producer_id == producer && state.last_sequence >= 0);
            let Some(state) = ours else { return Ok(ProducerEvidence::Nothing) };
            let theirs = i16::try_from(state.producer_epoch).unwrap_or(i16::MAX);
            not_taken((producer, epoch), (producer, theirs))?;
            Ok(ProducerEvidence::Last(state.last_sequence))
        }
    }
}

/// What was written under our producer id is ours only in our epoch: where a cluster gave the id out a second time
/// (it was restored, or is another one), the other's begins at 0, and ours does not.
fn not_taken((producer_id, ours): ProducerKey, (id, epoch): ProducerKey) -> Result<(), Trouble> {
    if id == producer_id && epoch != ours {
        return Err(Trouble::ProducerTaken { producer_id, epoch, ours });
    }
    Ok(())
}

/// The batches of `producer` in the tail up to `latest`.
pub(crate) async fn read_tail(
    cluster: &Cluster,
    broker: BrokerId,
    partition: &TopicPartition,
    producer: ProducerKey,
    what: TailFrom,
    latest: Offset,
) -> Result<Tail, Trouble> {
    let mut fetcher = tail_fetcher(cluster, broker).await?;
    let mut scan = TailScan::new(what, producer.0);
    if what.ours == TailOurs::Newest {
        // A partition that only we write to ends with a batch of ours.
        let at = Offset(latest.0 - 1);
        let records = fetch_at(&mut fetcher, partition, at).await?;
        let mut newest = TailScan::new(TailFrom { from: Offset(0), ..what }, producer.0);
        scan_batches(&mut newest, records, producer, at, latest)?;
        if let tail @ Tail::Ours(_) = newest.tail() {
            return Ok(tail);
        }
    }
    let mut position = what.from;
    let mut read = 0;
    while position < latest {
        let records = fetch_at(&mut fetcher, partition, position).await?;
        read += records.len();
        let next = scan_batches(&mut scan, records, producer, position, latest)?;
        if next <= position {
            return Err(unreadable_log(position));
        }
        if read > TAIL_BYTES_MAX {
            return Ok(Tail::TooFar);
        }
        position = next.max(what.resume);
    }
    Ok(scan.tail())
}

/// The flow's records at the destination from `from` to `latest`, in order, as far as they are there.
pub(crate) async fn read_contents(
    cluster: &Cluster,
    broker: BrokerId,
    partition: &TopicPartition,
    producer: ProducerKey,
    (from, latest): (Offset, Offset),
    timed: bool,
) -> Result<Contents, Trouble> {
    let mut fetcher = tail_fetcher(cluster, broker).await?;
    let mut position = from;
    let mut contents = Contents::default();
    while position < latest {
        let records = fetch_at(&mut fetcher, partition, position).await?;
        let mut next = position;
        for entry in split(records).map_while(Result::ok).take_while(|entry| entry.base_offset() < latest) {
            next = next.max(entry.next_offset());
            if let Entry::Batch(batch) = &entry {
                not_taken(producer, (batch.header.producer_id, batch.header.producer_epoch))?;
            }
            contents
                .add(&entry, producer.0, from, timed)
                .map_err(|error| Trouble::Unreadable { at: position, why: error.to_string() })?;
        }
        if next <= position {
            return Err(unreadable_log(position));
        }
        if contents.records.len() > COMPARED_RECORDS_MAX {
            let records = latest.0 - from.0;
            return Err(Trouble::PositionUnknown { records, why: "they are too many to compare" });
        }
        position = next;
    }
    Ok(contents)
}

fn unreadable_log(at: Offset) -> Trouble {
    Trouble::Unreadable { at, why: String::from("the destination's log gives no whole batch") }
}

async fn tail_fetcher(cluster: &Cluster, broker: BrokerId) -> Result<Fetcher, Trouble> {
    let connection = cluster
        .connect(broker)
        .await
        .map_err(|error| Trouble::from_call(Side::Destination, "Fetch", &error))?;
    let options = FetchOptions { wait_max: TAIL_WAIT, bytes_min: 1, committed_only: false, rack: None };
    Ok(Fetcher::new(connection, options))
}

/// What one fetch of `partition` at `at` brings.
async fn fetch_at(fetcher: &mut Fetcher, partition: &TopicPartition, at: Offset) -> Result<Bytes, Trouble> {
    let wanted = FetchPartition {
        partition: partition.clone(),
        topic_id: None,
        offset: at,
        current_leader_epoch: LeaderEpoch::UNKNOWN,
        last_fetched_epoch: LeaderEpoch::UNKNOWN,
        bytes_max: TAIL_FETCH_BYTES,
    };
    let reply = fetcher
        .fetch(std::slice::from_ref(&wanted), TAIL_FETCH_BYTES, TAIL_WAIT)
        .await
        .map_err(|error| Trouble::from_call(Side::Destination, "Fetch", &error))?;
    let Some(fetched) = reply.partitions.into_iter().find(|fetched| fetched.partition == *partition) else {
        return Err(Trouble::Unanswered(Side::Destination, "Fetch"));
    };
    if fetched.error.is_ok() {
        Ok(fetched.records)
    } else {
        Err(refusal(Side::Destination, "Fetch", fetched.error))
    }
}

/// Hands the batches of `records`, which lie at `at`, to `scan`, and tells where they end.
fn scan_batches(
    scan: &mut TailScan,
    records: Bytes,
    producer: ProducerKey,
    at: Offset,
    latest: Offset,
) -> Result<Offset, Trouble> {
    let mut next = at;
    for entry in split(records).map_while(Result::ok) {
        if entry.base_offset() >= latest {
            break;
        }
        next = next.max(entry.next_offset());
        if let Entry::Batch(batch) = &entry {
            if !batch.header.is_control() {
                not_taken(producer, (batch.header.producer_id, batch.header.producer_epoch))?;
            }
            scan.take(&batch.header);
        }
    }
    Ok(next)
}

/// Brokers refuse a question that names a partition twice, and shares have theirs in common.
fn each_once<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> Vec<TopicPartition> {
    let mut seen = HashSet::new();
    partitions.filter(|partition| seen.insert(*partition)).cloned().collect()
}

fn by_partition<T>(answers: Vec<(TopicPartition, T)>) -> HashMap<TopicPartition, T> {
    answers.into_iter().collect()
}

fn answer<T: Copy>(
    answers: &HashMap<TopicPartition, Result<T, ErrorCode>>,
    partition: &TopicPartition,
    side: Side,
    call: &'static str,
) -> Result<T, Trouble> {
    match answers.get(partition) {
        Some(answer) => answer.map_err(|error| refusal(side, call, error)),
        None => Err(Trouble::Unanswered(side, call)),
    }
}

fn refusal(side: Side, call: &'static str, error: ErrorCode) -> Trouble {
    match classify(error) {
        Class::OperatorNeeded | Class::Fatal => Trouble::Refused(side, call, error, None),
        Class::Retry | Class::RefreshAndRetry | Class::UnknownOutcome => Trouble::Passing(side, call, error),
    }
}

fn all<T>(lanes: impl Iterator<Item = LaneKey>, trouble: &Trouble) -> Looked<T> {
    lanes.map(|key| (key, Err(trouble.clone()))).collect()
}
