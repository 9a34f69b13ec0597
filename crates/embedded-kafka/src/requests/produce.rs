//! Produce: the compare-and-append.
//!
//! The checks come in Kafka's order: the request as a whole, each partition's bytes, the partition, the
//! batch (`validate.rs`), the producer's state (`producers.rs`). With acks=all the answer waits until every
//! in-sync replica has the batch; a duplicate waits as well.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use model::{TopicName, TopicPartition};
use protocol::ErrorCode;
use protocol::messages::produce_request::ProduceRequest;
use protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceResponse,
    TopicProduceResponse,
};
use protocol::messages::{self};
use record_batch::Header;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::cluster::Shared;
use crate::frame_room::Seat;
use crate::producers::Verdict;
use crate::profile::Profile;
use crate::requests::{Answer, Ask, text, wire_id, wire_name};
use crate::state::State;
use crate::validate::{Offered, PlainRoom, Refusal, validate};

/// What became of one partition's batch.
struct Outcome {
    error: ErrorCode,
    message: Option<String>,
    records: Vec<(i32, String)>,
    base_offset: i64,
    append_time_ms: i64,
    log_start: i64,
    /// The high watermark at which the batch is safe; 0 where there is nothing to wait for.
    safe_at: i64,
}

impl Outcome {
    fn refused(error: ErrorCode) -> Outcome {
        Outcome {
            error,
            message: None,
            records: Vec::new(),
            base_offset: -1,
            append_time_ms: -1,
            log_start: -1,
            safe_at: 0,
        }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Outcome {
        Outcome { message: Some(refusal.message), records: refusal.records, ..Outcome::refused(refusal.code) }
    }
}

/// A topic of the request: by name, or by an id that may be nobody's.
type Key = (Option<TopicName>, [u8; 16], i32);
type Outcomes = BTreeMap<Key, Outcome>;

pub(super) async fn answer(
    cluster: &Weak<Shared>,
    ask: &Ask,
    request: ProduceRequest,
    seat: &mut Seat,
) -> Answer {
    let (acks, timeout_ms) = (request.acks, request.timeout_ms);
    let transactional_id = request.transactional_id.as_ref().map(|id| id.0.as_str().to_owned());
    let outcomes = {
        let Some(shared) = cluster.upgrade() else { return Answer::Gone };
        let mut state = shared.state();
        let offered = offered(&state, request);
        append_all(&mut state, ask, acks, transactional_id.as_deref(), offered)
    };
    seat.give_back();
    let mut outcomes = match outcomes {
        Ok(outcomes) => outcomes,
        Err(reason) => return Answer::Close(reason),
    };
    if acks == -1 {
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or_default());
        if !wait_for_replicas(cluster, ask, &mut outcomes, Instant::now() + timeout).await {
            return Answer::Gone;
        }
    }
    if acks == 0 {
        // There is no reply that could tell, so the connection does.
        return match outcomes.values().find(|outcome| !outcome.error.is_ok()) {
            Some(failed) => Answer::Close(format!("produce without acks failed: {}", failed.error)),
            None => Answer::Nothing,
        };
    }
    for ((topic, _, partition), outcome) in &mut outcomes {
        let topic = topic.as_ref().map(TopicName::as_str).unwrap_or_default();
        if let Some(code) = ask.fired.fails_applied(topic, *partition) {
            outcome.error = code;
        }
    }
    let Some(shared) = cluster.upgrade() else { return Answer::Gone };
    let state = shared.state();
    ask.encode(&respond(&state, ask, outcomes))
}

/// The partitions of the request. One that is listed twice counts once: the last wins.
fn offered(state: &State, request: ProduceRequest) -> BTreeMap<Key, Option<Bytes>> {
    let mut offered = BTreeMap::new();
    for topic in request.topic_data {
        let id = topic.topic_id.into_bytes();
        let name = match id {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Some(TopicName::from(topic.name.0.as_str())),
            id => state.topic_by_id(id).map(|(name, _)| name.clone()),
        };
        for partition in topic.partition_data {
            offered.insert((name.clone(), id, partition.index), partition.records);
        }
    }
    offered
}

fn append_all(
    state: &mut State,
    ask: &Ask,
    acks: i16,
    transactional_id: Option<&str>,
    offered: BTreeMap<Key, Option<Bytes>>,
) -> Result<Outcomes, String> {
    let whole = |error: ErrorCode, offered: BTreeMap<Key, Option<Bytes>>| {
        Ok(offered.into_keys().map(|key| (key, Outcome::refused(error))).collect())
    };
    if ![-1, 0, 1].contains(&acks) {
        return whole(ErrorCode::INVALID_REQUIRED_ACKS, offered);
    }
    let profile = state.profile;
    let stray = transactional_id.is_none() && profile.checks_transactional_id();
    // Who names a transactional id and does not write under it needs no leave for it.
    if (stray || ask.denied.whole.is_some()) && offered.values().flatten().any(is_transactional) {
        return whole(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, offered);
    }
    let mut outcomes = Outcomes::new();
    let mut room = PlainRoom::default();
    for (key, records) in offered {
        let (topic, _, index) = &key;
        let Some(topic) = topic else {
            outcomes.insert(key, Outcome::refused(ErrorCode::UNKNOWN_TOPIC_ID));
            continue;
        };
        let outcome = match ask.fails(topic.as_str(), *index) {
            Some(code) => Outcome::refused(code),
            None => match append(state, ask, acks, transactional_id, (topic, *index), records, &mut room) {
                Ok(outcome) => outcome,
                Err(refusal) if refusal.closes => return Err(refusal.message),
                Err(refusal) => refusal.into(),
            },
        };
        outcomes.insert(key, outcome);
    }
    Ok(outcomes)
}

fn is_transactional(bytes: &Bytes) -> bool {
    Header::read(bytes).is_ok_and(|header| header.is_transactional())
}

fn append(
    state: &mut State,
    ask: &Ask,
    acks: i16,
    transactional_id: Option<&str>,
    (name, index): (&TopicName, i32),
    records: Option<Bytes>,
    room: &mut PlainRoom,
) -> Result<Outcome, Refusal> {
    let profile = state.profile;
    let Some(topic) = state.topics.get(name) else {
        return Ok(Outcome::refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    };
    let (rules, min_insync, internal) = (topic.rules, topic.min_insync_replicas, topic.internal);
    let Some(partition) = state.partition(name.as_str(), index) else {
        return Ok(Outcome::refused(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    };
    let offered = Offered::read(profile, ask.version, records)?;
    if internal && ask.client_id != "__admin_client" {
        return Ok(Outcome::refused(ErrorCode::INVALID_TOPIC_EXCEPTION));
    }
    if partition.leader != Some(ask.broker) {
        return Ok(Outcome::refused(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    }
    if acks == -1 && partition.in_sync_count() < min_insync {
        let log_start = partition.log.start_offset();
        return Ok(Outcome { log_start, ..Outcome::refused(ErrorCode::NOT_ENOUGH_REPLICAS) });
    }
    let log_start = partition.log.start_offset();
    if let Err((code, message)) =
        check_transaction(state, ask, transactional_id, name, index, &offered.header)
    {
        return Ok(Outcome { message: Some(message.to_owned()), ..Outcome::refused(code) });
    }
    let accepted = match validate(profile, &rules, ask.now_ms, offered, room) {
        Ok(accepted) => accepted,
        Err(refusal) => {
            let log_start = if profile.tells_log_start(refusal.code) { log_start } else { -1 };
            return Ok(Outcome { log_start, ..refusal.into() });
        }
    };
    let append_time_ms = accepted.append_time_ms.unwrap_or(-1);
    let partition = state.partition_mut(name.as_str(), index).expect("found above, and nothing was removed");
    let verdict = match partition.leading_producers() {
        Some(producers) => producers.judge(profile, &accepted.header),
        None => Verdict::Refused(ErrorCode::NOT_LEADER_OR_FOLLOWER),
    };
    Ok(match verdict {
        Verdict::Next => {
            let base_offset = partition.log.end_offset();
            let entry = accepted.place(base_offset, partition.leader_epoch).apart_from(ask.frame_bytes);
            let safe_at = entry.next_offset();
            partition.append(entry);
            Outcome { base_offset, append_time_ms, log_start, safe_at, ..Outcome::refused(ErrorCode::NONE) }
        }
        // The time betrays a duplicate on a CreateTime topic.
        Verdict::Duplicate(batch) => Outcome {
            base_offset: batch.base_offset,
            append_time_ms: batch.timestamp,
            log_start,
            safe_at: batch.last_offset.saturating_add(1),
            ..Outcome::refused(ErrorCode::NONE)
        },
        Verdict::Refused(code) => Outcome { log_start, ..Outcome::refused(code) },
    })
}

/// KIP-890: the first transactional batch of a partition is checked with the coordinator; from Produce v12
/// on it adds the partition to the transaction itself.
fn check_transaction(
    state: &mut State,
    ask: &Ask,
    transactional_id: Option<&str>,
    name: &TopicName,
    index: i32,
    header: &Header,
) -> Result<(), (ErrorCode, &'static str)> {
    let profile = state.profile;
    let (Some(id), true) = (transactional_id, header.is_transactional() && header.producer_id.0 >= 0) else {
        return Ok(());
    };
    let open_here = state
        .partition(name.as_str(), index)
        .and_then(|partition| partition.leading_producers())
        .and_then(|producers| producers.get(header.producer_id.0))
        .is_some_and(|producer| producer.transaction_start.is_some());
    if !profile.verifies_transactions() || open_here {
        return Ok(());
    }
    let at = TopicPartition::new(name.clone(), index);
    if state.transactions.get(id).is_none() {
        return Err((ErrorCode::NOT_ENOUGH_REPLICAS, "COORDINATOR_NOT_AVAILABLE"));
    }
    let identity = (header.producer_id.0, header.producer_epoch);
    let found = state
        .transactions
        .of_producer(id, identity, false)
        .map_err(|_| (ErrorCode::INVALID_PRODUCER_EPOCH, "the producer's epoch is not the coordinator's"))?;
    if found.open && found.partitions.contains(&at) {
        return Ok(());
    }
    // Only since version 12 there is somebody who knows what to make of the code.
    let passing =
        if ask.version >= 12 { ErrorCode::CONCURRENT_TRANSACTIONS } else { ErrorCode::NOT_ENOUGH_REPLICAS };
    state.check_ended(id).map_err(|_| (passing, "the last transaction has not ended everywhere"))?;
    match ask.version {
        12.. => {
            state.transactions.add(ask.now_ms, id, [at]);
            Ok(())
        }
        11 if profile >= Profile::V4_3 => {
            Err((ErrorCode::TRANSACTION_ABORTABLE, "partition not in transaction"))
        }
        _ => Err((ErrorCode::INVALID_TXN_STATE, "partition not in transaction")),
    }
}

/// Waits for every appended batch to be on all in-sync replicas, and says of those that are not in time
/// that they may yet be. `false` if the cluster is gone.
async fn wait_for_replicas(
    cluster: &Weak<Shared>,
    ask: &Ask,
    outcomes: &mut Outcomes,
    deadline: Instant,
) -> bool {
    let changed = Arc::new(Notify::new());
    let mut late = false;
    loop {
        {
            let Some(shared) = cluster.upgrade() else { return false };
            let mut state = shared.state();
            let mut waiting = false;
            for ((topic, _, index), outcome) in outcomes.iter_mut().filter(|(_, outcome)| outcome.safe_at > 0)
            {
                waiting |= !settle(&mut state, ask, topic.as_ref(), *index, outcome, late, &changed);
            }
            if !waiting || late {
                return true;
            }
        }
        late = timeout_at(deadline, changed.notified()).await.is_err();
    }
}

/// Decides about one outcome that waits, if that can be done now.
fn settle(
    state: &mut State,
    ask: &Ask,
    topic: Option<&TopicName>,
    index: i32,
    outcome: &mut Outcome,
    late: bool,
    changed: &Arc<Notify>,
) -> bool {
    let profile = state.profile;
    let name = topic.map(TopicName::as_str).unwrap_or_default();
    let min_insync = state.topics.get(name).map_or(1, |topic| topic.min_insync_replicas);
    let decided = match state.led_by(ask.broker, name, index) {
        Err(code) => Some(code),
        Ok(partition) if partition.high_watermark() >= outcome.safe_at => {
            // 1.1 looks at the in-sync set again; later versions let the wait run out instead.
            let shrunk = profile == Profile::V1_1 && partition.in_sync_count() < min_insync;
            Some(if shrunk { ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND } else { ErrorCode::NONE })
        }
        Ok(_) if late => Some(ErrorCode::REQUEST_TIMED_OUT),
        Ok(partition) => {
            partition.watch(changed);
            None
        }
    };
    if let Some(code) = decided {
        outcome.error = code;
        outcome.safe_at = 0;
    }
    decided.is_some()
}

fn respond(state: &State, ask: &Ask, outcomes: Outcomes) -> ProduceResponse {
    let mut response = ProduceResponse::default().with_throttle_time_ms(ask.fired.throttle_ms());
    let mut asked_elsewhere = Vec::new();
    for ((topic, id, index), outcome) in outcomes {
        let mut told = PartitionProduceResponse::default()
            .with_index(index)
            .with_error_code(outcome.error.0)
            .with_base_offset(outcome.base_offset)
            .with_log_append_time_ms(outcome.append_time_ms)
            .with_log_start_offset(outcome.log_start);
        if ask.version >= 8 {
            told.error_message = outcome.message.map(text);
            told.record_errors = outcome.records.into_iter().map(wire_record_error).collect();
        }
        let name = topic.as_ref().map(TopicName::as_str).unwrap_or_default();
        if ask.version >= 10
            && outcome.error == ErrorCode::NOT_LEADER_OR_FOLLOWER
            && let Some(partition) = state.partition(name, index)
            && let Some(leader) = partition.leader
        {
            told.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(messages::BrokerId(leader))
                .with_leader_epoch(partition.leader_epoch);
            asked_elsewhere.push(leader);
        }
        let name = topic.as_ref().map(wire_name).unwrap_or_default();
        let by_id = id != [0; 16];
        let same_topic = |last: &TopicProduceResponse| {
            if by_id { last.topic_id.into_bytes() == id } else { last.name == name }
        };
        if !response.responses.last().is_some_and(same_topic) {
            let topic = TopicProduceResponse::default();
            response.responses.push(if by_id {
                topic.with_topic_id(wire_id(id))
            } else {
                topic.with_name(name)
            });
        }
        if let Some(last) = response.responses.last_mut() {
            last.partition_responses.push(told);
        }
    }
    asked_elsewhere.sort_unstable();
    asked_elsewhere.dedup();
    response.node_endpoints = asked_elsewhere.into_iter().filter_map(|id| wire_endpoint(state, id)).collect();
    response
}

fn wire_record_error((index, message): (i32, String)) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage::default()
        .with_batch_index(index)
        .with_batch_index_error_message(Some(text(message)))
}

fn wire_endpoint(state: &State, id: i32) -> Option<NodeEndpoint> {
    let broker = state.brokers.get(&id)?;
    Some(
        NodeEndpoint::default()
            .with_node_id(messages::BrokerId(id))
            .with_host(text(state.host.clone()))
            .with_port(i32::from(broker.port))
            .with_rack(broker.rack.clone().map(text)),
    )
}

pub(super) fn mentioned(state: &State, request: &ProduceRequest) -> Vec<TopicPartition> {
    let mut mentioned = Vec::new();
    for topic in &request.topic_data {
        let by_id = state.topic_by_id(topic.topic_id.into_bytes()).map(|(name, _)| name.clone());
        let name = by_id.unwrap_or_else(|| TopicName::from(topic.name.0.as_str()));
        let partitions = topic.partition_data.iter();
        mentioned.extend(partitions.map(|partition| TopicPartition::new(name.clone(), partition.index)));
    }
    mentioned
}
