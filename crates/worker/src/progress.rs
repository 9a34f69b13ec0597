//! A connector's stored progress, read and changed by an operator: `paralog offsets`.
//!
//! The words are those of Connect (export what `GET …/offsets` gives, alter, reset; KIP-875) and of
//! `kafka-consumer-groups` (to an offset, to the earliest, to the latest). All but the export need the offsets
//! file for themselves: what a running worker knows would be written over the change. An offsets topic they take from it:
//! it stores nothing there any more, and says so.

use std::collections::{BTreeMap, BTreeSet};

use client::{CallError, Cluster, ErrorCode, OffsetSpec, Wanted};
use model::{BrokerId, Offset, ProducerId, TopicName, TopicPartition};
use offsets::export::{self, ExportError};
use offsets::{Producer, Stored, StoredLane};
use pipeline::{Isolation, StoreError};
use properties::OffsetStorage;

use crate::connector::{Connector, Prepared};
use crate::start_up::{ReachError, reach};
use crate::stores::{Storage, place_name, place_property};

/// Partitions of the source, as an operator names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The topic's name at the source.
    pub topic: TopicName,
    /// Its partitions; none means all.
    pub partitions: Vec<i32>,
}

impl Chosen {
    fn includes(&self, partition: &TopicPartition) -> bool {
        self.topic == partition.topic
            && (self.partitions.is_empty() || self.partitions.contains(&partition.partition.0))
    }
}

/// Where a partition's copy goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// At this source offset: it is the next to be copied.
    Offset(i64),
    /// At the first offset that the source still has.
    Earliest,
    /// At the source's present end: nothing that is there now is copied.
    Latest,
}

/// Why progress was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// The settings name several connectors, or none.
    #[error("the settings name {0} connectors, and progress is that of one")]
    NotOne(usize),
    /// The offsets file or topic cannot be used.
    #[error(transparent)]
    Store(StoreError),
    /// The offsets topic could not be written to the end.
    #[error("the progress may be changed in part")]
    InPart(#[source] StoreError),
    /// Partitions that cannot be forgotten one by one.
    #[error(
        "the partitions of `{0}` are spread over the same partitions of the destination: they are forgotten all together"
    )]
    Together(TopicName),
    /// A cluster cannot be reached.
    #[error(transparent)]
    Reach(Box<ReachError>),
    /// A cluster does not say what is asked.
    #[error("the {0} cluster cannot be asked")]
    Call(&'static str, #[source] CallError),
    /// Nothing is stored.
    #[error("nothing is stored of connector `{connector}` in {}", place_name(place))]
    Nothing {
        /// Its name.
        connector: String,
        /// The offsets file or topic.
        place: Box<OffsetStorage>,
    },
    /// The document cannot be imported.
    #[error("cannot import it")]
    Export(#[source] ExportError),
    /// There is progress that the import would replace.
    #[error("connector `{connector}` has progress already: {present}")]
    Present {
        /// Its name.
        connector: String,
        /// What there is, in words.
        present: String,
    },
    /// Positions were stored that count what was sent under another producer id.
    #[error(
        "{partitions} partitions were copied under producer id {present}, and the records sent under it cannot be \
         told from others' under producer id {wanted}"
    )]
    OtherProducer {
        /// Partitions with a position of that kind.
        partitions: usize,
        /// The id stored.
        present: ProducerId,
        /// The id asked for.
        wanted: ProducerId,
    },
    /// The source has no such partition.
    #[error("the source has no partition {0}")]
    NoPartition(String),
    /// The source's log does not reach there.
    #[error(
        "offset {wanted} of {partition} is outside of the source's log, which begins at {earliest} and ends at {latest}"
    )]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        wanted: i64,
        /// The first there is.
        earliest: Offset,
        /// The next to be written.
        latest: Offset,
    },
    /// A broker refuses to say where a partition begins or ends.
    #[error("the source does not tell the offsets of {0}: {1}")]
    Refused(TopicPartition, ErrorCode),
}

impl ProgressError {
    /// Whether nothing was wrong with what was asked, only with what it needs.
    pub fn is_out_of_reach(&self) -> bool {
        matches!(
            self,
            ProgressError::Store(_)
                | ProgressError::InPart(_)
                | ProgressError::Reach(_)
                | ProgressError::Call(..)
                | ProgressError::Refused(..)
        )
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            ProgressError::Together(_) => String::from(
                "name the topic without a partition; to go on elsewhere with one of them, `paralog offsets alter` it",
            ),
            ProgressError::NotOne(_) => String::from("name the worker's file and that of one connector"),
            ProgressError::Reach(error) => return Some(error.hint()),
            ProgressError::InPart(_) => String::from(
                "run the same again until it is done, before a worker does: each partition is where it was, where it is \
                 to be, or without a position",
            ),
            ProgressError::Nothing { place, .. } => {
                format!(
                    "progress is kept under the connector's name in {}: check both",
                    place_property(place)
                )
            }
            ProgressError::Export(ExportError::OtherFlow { .. }) => String::from(
                "an export belongs to the connector that it names; one that was renamed keeps its old name",
            ),
            ProgressError::Present { .. } => String::from(
                "to put the export in its place, add --replace; export the present progress first",
            ),
            ProgressError::OtherProducer { .. } => String::from(
                "what was copied under the present id would be copied again; if that is meant, `paralog offsets reset` \
                 these partitions first",
            ),
            _ => return None,
        })
    }
}

/// The stored progress of the one connector in `prepared`, as a document. A worker may be running it.
///
/// # Errors
/// [`ProgressError`] if it cannot be read, or there is none.
pub async fn export(prepared: &Prepared) -> Result<String, ProgressError> {
    let connector = one(prepared)?;
    let (place, patience) = (&prepared.worker.offset_storage, prepared.worker.offset_flush_timeout);
    let stored = Storage::peek(place, &prepared.logins, patience, &connector.name)
        .await
        .map_err(ProgressError::Store)?;
    if stored == Stored::default() {
        return Err(ProgressError::Nothing {
            connector: connector.name.clone(),
            place: Box::new(place.clone()),
        });
    }
    Ok(export::write(&connector.name, &stored))
}

/// Stores the progress in `document`, an export. Where there is progress already only if `replace`. Gives what
/// was done, in words.
///
/// # Errors
/// [`ProgressError`]; what is stored is then as before, but for [`ProgressError::InPart`].
pub async fn import(prepared: &Prepared, document: &[u8], replace: bool) -> Result<String, ProgressError> {
    let connector = one(prepared)?;
    let name = &connector.name;
    let new = export::read(document, name).map_err(ProgressError::Export)?;
    let (storage, present) = open(prepared, connector).await?;
    replaceable(name, &present, &new, replace)?;
    let claimed = storage.claim(name).await.map_err(ProgressError::Store)?;
    replaceable(name, &claimed, &new, replace)?;
    let mut new = new;
    if let Some(producer) = &mut new.producer {
        // It may be older than what was sent since, and what is still under way.
        producer.stopped_cleanly = false;
        // Those that were given out since have written, too.
        let present = claimed.producer.filter(|present| present.producer_id == producer.producer_id);
        if let Some(present) = present.filter(|present| present.spread_ids.len() > producer.spread_ids.len())
        {
            producer.spread_ids = present.spread_ids;
        }
    }
    // What is known here of ACLs is no older, and is about clusters, not about a position.
    if !claimed.acls.is_empty() {
        new.acls = claimed.acls;
    }
    replace_in(&storage, name, &new).await?;
    Ok(format!("connector `{name}`: {}", words(&new)))
}

/// Sets where partitions of the one connector in `prepared` go on. What the destination has of them stays, and
/// is not looked at. Gives what was done, in words, a line for each.
///
/// # Errors
/// [`ProgressError`]; what is stored is then as before, but for [`ProgressError::InPart`].
pub async fn alter(prepared: &Prepared, chosen: &[Chosen], to: To) -> Result<Vec<String>, ProgressError> {
    let connector = one(prepared)?;
    let (storage, _) = open(prepared, connector).await?;
    let source = Cluster::new(connector.source.clone());
    reach(&source, &connector.source_end).await.map_err(reach_error)?;
    let mut lanes = BTreeMap::new();
    for (partition, (earliest, latest)) in bounds(&source, connector, chosen).await? {
        let next = match to {
            To::Earliest => earliest,
            To::Latest => latest,
            To::Offset(wanted) if (earliest.0..=latest.0).contains(&wanted) => Offset(wanted),
            To::Offset(wanted) => {
                return Err(ProgressError::OutOfRange { partition, wanted, earliest, latest });
            }
        };
        lanes.insert(partition, next);
    }
    let mut stored = storage.claim(&connector.name).await.map_err(ProgressError::Store)?;
    let mut done = Vec::new();
    for (partition, next) in lanes {
        let was = stored.lanes.get(&partition).map_or_else(|| String::from("nothing"), position);
        done.push(format!("{partition}: next source offset {next} (was {was})"));
        stored.lanes.insert(partition, StoredLane::Foreign { last_copied: Offset(next.0 - 1) });
    }
    replace_in(&storage, &connector.name, &stored).await?;
    Ok(done)
}

/// Says under which producer id the one connector in `prepared` has written to its present destination, where
/// that was forgotten. Gives what was done, in words.
///
/// # Errors
/// [`ProgressError`]; what is stored is then as before, but for [`ProgressError::InPart`].
pub async fn set_producer(
    prepared: &Prepared,
    (producer_id, producer_epoch): (i64, i16),
) -> Result<String, ProgressError> {
    let connector = one(prepared)?;
    let producer_id = ProducerId(producer_id);
    let (storage, present) = open(prepared, connector).await?;
    same_producer(&present, producer_id)?;
    let destination = Cluster::new(connector.destination.clone());
    let metadata = reach(&destination, &connector.destination_end).await.map_err(reach_error)?;
    let mut stored = storage.claim(&connector.name).await.map_err(ProgressError::Store)?;
    same_producer(&stored, producer_id)?;
    let done = format!(
        "connector `{}`: writes under producer id {producer_id}, epoch {producer_epoch}, to cluster {}",
        connector.name,
        metadata.cluster_id.as_deref().unwrap_or("without an id"),
    );
    // Those belong to the same cluster, and are as true as they were.
    let spread_ids = stored.producer.map_or_else(Vec::new, |present| present.spread_ids);
    stored.producer = Some(Producer {
        producer_id,
        producer_epoch,
        destination_cluster_id: metadata.cluster_id,
        // Nobody knows what the process left under way that wrote last.
        stopped_cleanly: false,
        spread_ids,
    });
    replace_in(&storage, &connector.name, &stored).await?;
    Ok(done)
}

/// Forgets the positions of partitions of the one connector in `prepared`, or of all where none is chosen. Its
/// producer id stays. Gives what was done, in words, a line for each.
///
/// # Errors
/// [`ProgressError`]; what is stored is then as before, but for [`ProgressError::InPart`].
pub async fn reset(prepared: &Prepared, chosen: &[Chosen]) -> Result<Vec<String>, ProgressError> {
    let connector = one(prepared)?;
    let (storage, mut stored) = open(prepared, connector).await?;
    let goes = |partition: &TopicPartition| {
        chosen.is_empty() || chosen.iter().any(|chosen| chosen.includes(partition))
    };
    let nothing = || ProgressError::Nothing {
        connector: connector.name.clone(),
        place: Box::new(prepared.worker.offset_storage.clone()),
    };
    // Not taken from anybody for nothing.
    if !stored.lanes.keys().any(goes) {
        return Err(nothing());
    }
    whole_spreads(&stored, goes)?;
    stored = storage.claim(&connector.name).await.map_err(ProgressError::Store)?;
    whole_spreads(&stored, goes)?;
    let mut done = Vec::new();
    stored.lanes.retain(|partition, lane| {
        if goes(partition) {
            done.push(format!("{partition}: forgotten (was {})", position(lane)));
        }
        !goes(partition)
    });
    if done.is_empty() {
        return Err(nothing());
    }
    replace_in(&storage, &connector.name, &stored).await?;
    Ok(done)
}

/// Whether of no topic that is spread only some partitions go. The others would still be there to say that the
/// destination's records are known, and those of the ones that were forgotten would be copied once more.
fn whole_spreads(stored: &Stored, goes: impl Fn(&TopicPartition) -> bool) -> Result<(), ProgressError> {
    let topics = |is_gone: bool| -> BTreeSet<&TopicName> {
        let lanes = stored.lanes.iter().filter(|(partition, _)| goes(partition) == is_gone);
        let spread = lanes.filter(|(_, lane)| matches!(lane, StoredLane::Spread(_)));
        spread.map(|(partition, _)| &partition.topic).collect()
    };
    match topics(true).intersection(&topics(false)).next() {
        Some(topic) => Err(ProgressError::Together((*topic).clone())),
        None => Ok(()),
    }
}

fn one(prepared: &Prepared) -> Result<&Connector, ProgressError> {
    match &prepared.connectors[..] {
        [one] => Ok(one),
        several => Err(ProgressError::NotOne(several.len())),
    }
}

/// Opens the place of progress and looks at it. What is asked is refused by this look already where it can be; what is
/// changed is what was read after [`Storage::claim`], for a worker may have begun meanwhile.
async fn open(prepared: &Prepared, connector: &Connector) -> Result<(Storage, Stored), ProgressError> {
    let (place, patience) = (&prepared.worker.offset_storage, prepared.worker.offset_flush_timeout);
    let storage = Storage::open(place, &prepared.logins, patience).await.map_err(ProgressError::Store)?;
    let stored = storage.look(&connector.name).await.map_err(ProgressError::Store)?;
    Ok((storage, stored))
}

async fn replace_in(storage: &Storage, name: &str, stored: &Stored) -> Result<(), ProgressError> {
    let in_words = |error| match storage {
        Storage::File(_) => ProgressError::Store(error),
        Storage::Topic(_) => ProgressError::InPart(error),
    };
    storage.replace(name, stored).await.map_err(in_words)
}

/// What is to be said after a change, where a worker may run on without knowing.
pub fn afterword(prepared: &Prepared) -> Option<String> {
    match prepared.worker.offset_storage {
        OffsetStorage::File(_) => None,
        OffsetStorage::Topic(_) => Some(String::from(
            "a worker that still runs with this connector stores nothing any more: restart it",
        )),
    }
}

fn reach_error(error: ReachError) -> ProgressError {
    ProgressError::Reach(Box::new(error))
}

/// Whether `new` may take the place of what is `present`.
fn replaceable(name: &str, present: &Stored, new: &Stored, replace: bool) -> Result<(), ProgressError> {
    if *present == Stored::default() || present == new {
        return Ok(());
    }
    if !replace {
        return Err(ProgressError::Present { connector: name.to_owned(), present: words(present) });
    }
    new.producer.as_ref().map_or(Ok(()), |producer| same_producer(present, producer.producer_id))
}

/// Positions say how many records were sent under the flow's id: they mean nothing under another one.
fn same_producer(stored: &Stored, wanted: ProducerId) -> Result<(), ProgressError> {
    let has_sequences = |lane: &&StoredLane| !matches!(lane, StoredLane::Foreign { .. });
    let partitions = stored.lanes.values().filter(has_sequences).count();
    match &stored.producer {
        Some(present) if present.producer_id != wanted && partitions > 0 => {
            Err(ProgressError::OtherProducer { partitions, present: present.producer_id, wanted })
        }
        _ => Ok(()),
    }
}

fn words(stored: &Stored) -> String {
    let producer = stored.producer.as_ref();
    let id = producer
        .map_or_else(|| String::from("no producer id"), |it| format!("producer id {}", it.producer_id));
    let acls: usize = stored.acls.values().map(BTreeSet::len).sum();
    let acls = if acls > 0 { format!(", {acls} ACLs") } else { String::new() };
    format!("{id}, positions of {} partitions{acls}", stored.lanes.len())
}

fn position(lane: &StoredLane) -> String {
    lane.next_source().to_string()
}

/// Where the logs of the chosen partitions begin and end at the source.
async fn bounds(
    source: &Cluster,
    connector: &Connector,
    chosen: &[Chosen],
) -> Result<BTreeMap<TopicPartition, (Offset, Offset)>, ProgressError> {
    let call = |error| ProgressError::Call("source", error);
    let topics: Vec<TopicName> = chosen.iter().map(|chosen| chosen.topic.clone()).collect();
    let metadata = source.metadata(Wanted::Topics(&topics)).await.map_err(call)?;
    let mut leaders: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
    for chosen in chosen {
        let present =
            metadata.topics.iter().find(|topic| topic.name == chosen.topic && topic.error.is_none());
        let present = present.map_or(&[][..], |topic| &topic.partitions);
        let numbers = match chosen.partitions.is_empty() {
            true => present.iter().map(|partition| partition.partition.0).collect(),
            false => chosen.partitions.clone(),
        };
        if numbers.is_empty() {
            return Err(ProgressError::NoPartition(chosen.topic.to_string()));
        }
        for number in numbers {
            let partition = TopicPartition::new(chosen.topic.as_str(), number);
            let leader = present.iter().find(|it| it.partition.0 == number).and_then(|it| it.leader);
            let leader = leader.ok_or_else(|| ProgressError::NoPartition(partition.to_string()))?;
            leaders.entry(leader).or_default().push(partition);
        }
    }
    let committed_only = connector.pipeline.isolation == Isolation::ReadCommitted;
    let mut bounds = BTreeMap::new();
    for (leader, partitions) in leaders {
        let starts =
            source.list_offsets(leader, &partitions, OffsetSpec::Earliest, false).await.map_err(call)?;
        let ends = source.list_offsets(leader, &partitions, OffsetSpec::Latest, committed_only).await;
        let mut ends: BTreeMap<_, _> = ends.map_err(call)?.into_iter().collect();
        for (partition, start) in starts {
            let refused = |error| ProgressError::Refused(partition.clone(), error);
            let start = start.map_err(refused)?;
            let end = ends
                .remove(&partition)
                .unwrap_or(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))
                .map_err(refused)?;
            bounds.insert(partition, (start, end));
        }
    }
    Ok(bounds)
}
