//! Asks brokers what is there: the calls behind an opening lane's questions.

use std::collections::HashMap;

use bytes::Bytes;
use client::{
    CallError, Class, Cluster, ErrorCode, FetchOptions, FetchPartition, Fetcher, OffsetSpec, ProducerState,
    classify, fetch_tells_divergence, fetches_by_topic_id,
};
use model::{BrokerId, LeaderEpoch, Offset, ProducerId, TopicPartition};
use record_batch::{Entry, split};
use std::time::Duration;

use crate::contents::Contents;
use crate::events::{LaneKey, SourceEvidence};
use crate::place::{Evidence, ProducerEvidence, Tail};
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
    let partitions: Vec<TopicPartition> = lanes.iter().map(|(_, partition)| partition.clone()).collect();
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
    let ((mut starts, mut ends, mut watermarks), epoch_ends, by_id) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return all(lanes, &Trouble::from_call(Side::Source, "ListOffsets", &error)),
    };
    let mut committed = match group {
        Some(group) => match cluster.committed_offsets(group, &partitions).await {
            Ok(offsets) => by_partition(offsets),
            Err(error) => return all(lanes, &Trouble::from_call(Side::Source, "OffsetFetch", &error)),
        },
        None => HashMap::new(),
    };
    lanes
        .iter()
        .map(|(key, partition)| {
            let evidence = (|| {
                Ok(SourceEvidence {
                    log_start: answer(&mut starts, partition, Side::Source, "ListOffsets")?,
                    end: answer(&mut ends, partition, Side::Source, "ListOffsets")?,
                    high_watermark: answer(&mut watermarks, partition, Side::Source, "ListOffsets")?,
                    committed: match group {
                        Some(_) => answer(&mut committed, partition, Side::Source, "OffsetFetch")?,
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

/// What `broker`, the leader, shows of destination partitions: the log's bounds and the flow's producer state.
/// The bounds are asked for first: a batch of ours that is appended between the two calls then shows in the
/// state alone, as one that is not replicated yet does, and the lane looks again. The other way round it would
/// be taken for somebody else's, and the position be wrong for good.
pub(crate) async fn look_at_destination(
    cluster: &Cluster,
    broker: BrokerId,
    lanes: &Lanes,
    producer: (ProducerId, i16),
) -> Looked<Evidence> {
    let partitions: Vec<TopicPartition> = lanes.iter().map(|(_, partition)| partition.clone()).collect();
    let looked = async {
        let ends = cluster.list_offsets(broker, &partitions, OffsetSpec::Latest, false).await?;
        let starts = cluster.list_offsets(broker, &partitions, OffsetSpec::Earliest, false).await?;
        Ok::<_, CallError>((by_partition(starts), by_partition(ends)))
    };
    let (mut starts, mut ends) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return all(lanes, &Trouble::from_call(Side::Destination, "ListOffsets", &error)),
    };
    let mut states = match cluster.describe_producers(broker, &partitions).await {
        Ok(states) => Some(by_partition(states)),
        Err(CallError::Unsupported { .. }) => None,
        Err(error) => return all(lanes, &Trouble::from_call(Side::Destination, "DescribeProducers", &error)),
    };
    lanes
        .iter()
        .map(|(key, partition)| {
            let evidence = (|| {
                Ok(Evidence {
                    producer: match &mut states {
                        Some(states) => producer_evidence(states.remove(partition), producer)?,
                        None => ProducerEvidence::Unsupported,
                    },
                    log_start: answer(&mut starts, partition, Side::Destination, "ListOffsets")?,
                    latest: answer(&mut ends, partition, Side::Destination, "ListOffsets")?,
                    tail: None,
                })
            })();
            (*key, evidence)
        })
        .collect()
}

fn producer_evidence(
    states: Option<Result<Vec<ProducerState>, ErrorCode>>,
    (producer, epoch): (ProducerId, i16),
) -> Result<ProducerEvidence, Trouble> {
    match states {
        // Describing needs READ on the topic, copying does not: without it the log's bounds must do.
        Some(Err(ErrorCode::TOPIC_AUTHORIZATION_FAILED)) => Ok(ProducerEvidence::Unsupported),
        Some(Err(error)) => Err(refusal(Side::Destination, "DescribeProducers", error)),
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
fn not_taken((producer_id, ours): (ProducerId, i16), (id, epoch): (ProducerId, i16)) -> Result<(), Trouble> {
    if id == producer_id && epoch != ours {
        return Err(Trouble::ProducerTaken { producer_id, epoch, ours });
    }
    Ok(())
}

/// The newest batch of `producer` between `from` and `latest`.
pub(crate) async fn read_tail(
    cluster: &Cluster,
    broker: BrokerId,
    partition: &TopicPartition,
    producer: (ProducerId, i16),
    from: Offset,
    latest: Offset,
) -> Result<Tail, Trouble> {
    let mut fetcher = tail_fetcher(cluster, broker).await?;
    // A partition that only we write to ends with a batch of ours.
    let at = Offset(latest.0 - 1);
    let (newest, _) = newest_of(fetch_at(&mut fetcher, partition, at).await?, producer, at, latest)?;
    if let Some(last) = newest {
        return Ok(Tail::Ours(last));
    }
    let mut position = from;
    let mut read = 0;
    let mut ours = None;
    while position < latest {
        let records = fetch_at(&mut fetcher, partition, position).await?;
        let (found, (next, bytes)) = newest_of(records, producer, position, latest)?;
        ours = found.or(ours);
        read += bytes;
        if next <= position {
            return Err(unreadable_log(position));
        }
        if read > TAIL_BYTES_MAX {
            return Ok(Tail::TooFar);
        }
        position = next;
    }
    Ok(ours.map_or(Tail::NoneOurs, Tail::Ours))
}

/// The flow's records at the destination from `from` to `latest`, in order, as far as they are there.
pub(crate) async fn read_contents(
    cluster: &Cluster,
    broker: BrokerId,
    partition: &TopicPartition,
    producer: (ProducerId, i16),
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

/// The last sequence of `producer` in `records`, and where they end.
fn newest_of(
    records: Bytes,
    producer: (ProducerId, i16),
    at: Offset,
    latest: Offset,
) -> Result<(Option<i32>, (Offset, usize)), Trouble> {
    let bytes = records.len();
    let mut next = at;
    let mut ours = None;
    for entry in split(records).map_while(Result::ok) {
        if entry.base_offset() >= latest {
            break;
        }
        next = next.max(entry.next_offset());
        if let Entry::Batch(batch) = &entry
            && batch.header.producer_id == producer.0
            && !batch.header.is_control()
        {
            not_taken(producer, (batch.header.producer_id, batch.header.producer_epoch))?;
            ours = Some(batch.header.last_sequence());
        }
    }
    Ok((ours, (next, bytes)))
}

fn by_partition<T>(answers: Vec<(TopicPartition, T)>) -> HashMap<TopicPartition, T> {
    answers.into_iter().collect()
}

fn answer<T>(
    answers: &mut HashMap<TopicPartition, Result<T, ErrorCode>>,
    partition: &TopicPartition,
    side: Side,
    call: &'static str,
) -> Result<T, Trouble> {
    match answers.remove(partition) {
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

fn all<T>(lanes: &Lanes, trouble: &Trouble) -> Looked<T> {
    lanes.iter().map(|(key, _)| (*key, Err(trouble.clone()))).collect()
}
