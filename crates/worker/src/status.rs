//! What a worker shows of itself: every connector's topics, summed up from its lanes.
//!
//! Also the one place that says when a copy "until caught up" is over: [`FlowView::verdict`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::{Offset, TopicName, TopicPartition, Users};
use pipeline::{LaneState, LaneStatus, LifeCounts, Trouble};

/// All connectors at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerStatus {
    /// In the order of the settings.
    pub flows: Vec<FlowStatus>,
}

/// One connector at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStatus {
    /// The connector's name.
    pub name: String,
    /// Its topics that are copied, sorted.
    pub topics: Vec<TopicStatus>,
    /// What keeps the connector as a whole from working.
    pub trouble: Option<String>,
    /// Topics that are asked for and not copied, each with the reason.
    pub not_copied: Vec<String>,
    /// Topics that were copied since the start and are not at the source any more. Their copies stay.
    pub gone: Vec<TopicName>,
    /// What is copied with a flaw, or could not be learnt.
    pub warnings: Vec<String>,
    /// Both clusters were observed, and every lane of the routes in force knows what there is to copy.
    pub is_settled: bool,
}

/// One topic at one moment: the sum of its lanes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicStatus {
    /// Its name at the source.
    pub source: TopicName,
    /// Its name at the destination.
    pub destination: TopicName,
    /// Partitions that are copied.
    pub partitions: usize,
    /// Partitions that stand still, whether on the reading or on the writing side.
    pub stopped_partitions: usize,
    /// The reason of the first of them that gives one.
    pub trouble: Option<String>,
    /// Records acknowledged in this process.
    pub records: u64,
    /// Bytes of batches acknowledged in this process.
    pub bytes: u64,
    /// Source offsets not copied yet; `None` before the source has answered for every partition.
    pub lag_records: Option<u64>,
    /// Source offsets passed since this process looked first.
    pub copied: u64,
    /// Source offsets there were to pass then; `None` before every partition has been looked at.
    pub to_copy: Option<u64>,
    /// What was done in this process about topics created anew, cut, overtaken or lost.
    pub life: LifeCounts,
}

/// Whether everything that was there at the start is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not yet, and it may still come.
    NotYet,
    /// It is.
    CaughtUp,
    /// All that can be copied is; for the rest, the reasons.
    Incomplete(Vec<String>),
}

/// A refusal is given this long to turn out otherwise: the control plane may mend the topic, and a right that
/// was granted takes a moment to reach every broker.
const PATIENCE_REFUSED: Duration = Duration::from_secs(10);
/// Damage may be on the way or on one replica: it is read again a few times.
const PATIENCE_UNREADABLE: Duration = Duration::from_secs(60);
/// A partition that has something to copy, and neither moves nor says why, is told after this: longer than a request
/// may take, after which there is a reason.
const SILENT: Duration = Duration::from_secs(60);
/// What only an operator ends.
const PATIENCE: Duration = Duration::from_secs(1);
/// Progress that cannot be stored may be a disk or a cluster that is back soon, or one that never is.
const PATIENCE_STORE: Duration = Duration::from_secs(60);

/// How long `trouble` may last before it is given up; none where it ends by itself.
fn patience(trouble: &Trouble) -> Option<Duration> {
    match trouble {
        Trouble::Unreadable { .. } => Some(PATIENCE_UNREADABLE),
        Trouble::Refused(..) | Trouble::BatchRefused { .. } => Some(PATIENCE_REFUSED),
        Trouble::Store(_) => Some(PATIENCE_STORE),
        other => (!other.passes()).then_some(PATIENCE),
    }
}

fn in_words(trouble: &Trouble, users: &Users) -> String {
    let hint = trouble.hint().map(|hint| format!(" ({})", users.named(hint))).unwrap_or_default();
    format!("{trouble}{hint}")
}

/// What is remembered of a connector between two looks at it.
#[derive(Debug)]
pub(crate) struct FlowView {
    name: String,
    users: Users,
    lanes: BTreeMap<TopicPartition, LaneView>,
    not_copied: Vec<String>,
    is_settled: bool,
    /// What keeps the whole connector, or one of its clusters, from working, and since when.
    trouble: Option<(Trouble, Instant)>,
}

#[derive(Debug)]
struct LaneView {
    /// Where the lane stood when it first knew.
    start: Option<Offset>,
    /// The trouble it is in, and since when.
    trouble: Option<(Trouble, Instant)>,
    has_caught_up: bool,
    /// How far it was when it last moved or had nothing to do, and when that was.
    moved: (Offset, Instant),
    /// How far it is, and since when.
    copied: (Offset, Instant),
}

/// What the control plane says of a connector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routed {
    /// Both clusters were observed, and what could be created is.
    pub(crate) is_settled: bool,
    /// The generation of the routes in force.
    pub(crate) generation: u64,
    /// How many routes there are.
    pub(crate) routes: usize,
    /// What keeps it from working.
    pub(crate) trouble: Option<String>,
    /// Topics that are asked for and not copied, with the reasons.
    pub(crate) not_copied: Vec<String>,
    /// Topics that vanished from the source.
    pub(crate) gone: Vec<TopicName>,
    /// What is copied with a flaw.
    pub(crate) warnings: Vec<String>,
}

impl FlowView {
    pub(crate) fn new(name: String, users: Users) -> FlowView {
        let (lanes, not_copied) = (BTreeMap::new(), Vec::new());
        FlowView { name, users, lanes, not_copied, is_settled: false, trouble: None }
    }

    pub(crate) fn users(&self) -> &Users {
        &self.users
    }

    /// How many partitions it knew of at the last look.
    pub(crate) fn partitions(&self) -> usize {
        self.lanes.len()
    }

    /// Takes in the present state and sums it up.
    pub(crate) fn update(
        &mut self,
        now: Instant,
        routed: &Routed,
        pipeline: &pipeline::Status,
    ) -> FlowStatus {
        let present = |partition: &TopicPartition| {
            pipeline.lanes.binary_search_by(|lane| lane.source.cmp(partition)).is_ok()
        };
        self.lanes.retain(|partition, _| present(partition));
        let mut topics: BTreeMap<(TopicName, TopicName), TopicStatus> = BTreeMap::new();
        for lane in &pipeline.lanes {
            let view = self.lanes.entry(lane.source.clone()).or_insert(LaneView {
                start: None,
                trouble: None,
                has_caught_up: false,
                moved: (lane.next_source, now),
                copied: (lane.next_source, now),
            });
            view.update(now, lane);
            let key = (lane.source.topic.clone(), lane.destination.topic.clone());
            let topic = topics.entry(key).or_insert_with_key(|(source, destination)| TopicStatus {
                source: source.clone(),
                destination: destination.clone(),
                partitions: 0,
                stopped_partitions: 0,
                trouble: None,
                records: 0,
                bytes: 0,
                lag_records: Some(0),
                copied: 0,
                to_copy: Some(0),
                life: LifeCounts::default(),
            });
            topic.add(now, lane, view);
        }
        self.not_copied.clone_from(&routed.not_copied);
        self.trouble = since(pipeline.trouble.as_ref(), self.trouble.take(), now);
        self.is_settled = routed.is_settled
            && pipeline.generation >= routed.generation
            && pipeline.lanes.len() == routed.routes
            && pipeline
                .lanes
                .iter()
                .all(|lane| lane.source_end_at_start.is_some() || lane.state == LaneState::Blocked);
        FlowStatus {
            name: self.name.clone(),
            topics: topics.into_values().collect(),
            trouble: pipeline.trouble.as_ref().map(ToString::to_string).or_else(|| routed.trouble.clone()),
            not_copied: routed.not_copied.clone(),
            gone: routed.gone.clone(),
            warnings: routed.warnings.clone(),
            is_settled: self.is_settled,
        }
    }

    /// Whether the copy is over, as far as what was there at the start goes.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        if let Some(trouble) = self.stopped_by(now) {
            return Verdict::Incomplete(
                [vec![in_words(trouble, &self.users)], self.not_copied.clone()].concat(),
            );
        }
        if !self.is_settled {
            return Verdict::NotYet;
        }
        let mut reasons = self.not_copied.clone();
        for (partition, lane) in &self.lanes {
            if lane.has_caught_up {
                continue;
            }
            let Some((trouble, since)) = &lane.trouble else { return Verdict::NotYet };
            if patience(trouble).is_none_or(|patience| now.saturating_duration_since(*since) < patience) {
                return Verdict::NotYet;
            }
            reasons.push(format!("{partition}: {}", in_words(trouble, &self.users)));
        }
        if reasons.is_empty() { Verdict::CaughtUp } else { Verdict::Incomplete(reasons) }
    }

    /// What keeps the whole connector from working for too long, if nothing was copied since.
    fn stopped_by(&self, now: Instant) -> Option<&Trouble> {
        let (trouble, since) = self.trouble.as_ref()?;
        let for_long = now.saturating_duration_since(*since) >= patience(trouble)?;
        let unfinished = || self.lanes.values().filter(|lane| !lane.has_caught_up);
        let is_over = self.is_settled && unfinished().next().is_none();
        (for_long && !is_over && unfinished().all(|lane| lane.copied.1 <= *since)).then_some(trouble)
    }
}

impl LaneView {
    fn update(&mut self, now: Instant, lane: &LaneStatus) {
        if self.start.is_none() && lane.source_end_at_start.is_some() {
            self.start = Some(lane.next_source);
        }
        self.has_caught_up = lane.has_reached_start_end();
        if lane.next_source != self.moved.0 || lane.lag() == Some(0) || lane.trouble.is_some() {
            self.moved = (lane.next_source, now);
        }
        if lane.next_source != self.copied.0 {
            self.copied = (lane.next_source, now);
        }
        self.trouble = since(lane.trouble.as_ref(), self.trouble.take(), now);
    }
}

/// The present trouble, and since when it is known.
fn since(
    present: Option<&Trouble>,
    before: Option<(Trouble, Instant)>,
    now: Instant,
) -> Option<(Trouble, Instant)> {
    let present = present?;
    Some(before.filter(|(known, _)| known == present).unwrap_or_else(|| (present.clone(), now)))
}

impl TopicStatus {
    fn add(&mut self, now: Instant, lane: &LaneStatus, view: &LaneView) {
        self.partitions += 1;
        self.records = self.records.saturating_add(lane.records);
        self.bytes = self.bytes.saturating_add(lane.bytes);
        self.life += lane.life;
        self.lag_records = self.lag_records.zip(lane.lag()).map(|(sum, lag)| sum.saturating_add(lag));
        // A lane that cannot read stays in the state it is in, and one that is looked at again is opening: what
        // tells that it has not moved since is the trouble.
        let silent = now.saturating_duration_since(view.moved.1);
        let trouble = match &lane.trouble {
            Some(trouble) => Some(trouble.to_string()),
            None if silent >= SILENT => Some(format!(
                "nothing was copied for {} s, and nobody says why (it is {})",
                silent.as_secs(),
                lane.state
            )),
            None => None,
        };
        if trouble.is_some() || lane.state == LaneState::Blocked {
            self.stopped_partitions += 1;
        }
        self.trouble = self.trouble.take().or(trouble);
        let span = |from: Offset, to: Offset| u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0);
        let share = view
            .start
            .zip(lane.source_end_at_start)
            .map(|(start, end)| (span(start, lane.next_source.min(end)), span(start, end)));
        self.copied = self.copied.saturating_add(share.map_or(0, |(copied, _)| copied));
        self.to_copy = self.to_copy.zip(share).map(|(sum, (_, to_copy))| sum.saturating_add(to_copy));
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // The clock is read once, as the zero of each test.
mod tests {
    use super::*;
    use client::ErrorCode;
    use pipeline::Side;

    fn lane(partition: i32, next: i64, end: i64) -> LaneStatus {
        LaneStatus {
            source: TopicPartition::new("t", partition),
            destination: TopicPartition::new("t.replica", partition),
            state: LaneState::Flowing,
            trouble: None,
            next_source: Offset(next),
            source_end: Some(Offset(end + 5)),
            source_end_at_start: Some(Offset(end)),
            records: u64::try_from(next).unwrap(),
            bytes: 10,
            transcoded_batches: 0,
            merged_batches: 0,
            life: LifeCounts::default(),
        }
    }

    fn blocked(partition: i32, trouble: Trouble) -> LaneStatus {
        LaneStatus { state: LaneState::Blocked, trouble: Some(trouble), ..lane(partition, 3, 10) }
    }

    fn status(lanes: Vec<LaneStatus>) -> pipeline::Status {
        pipeline::Status { generation: 1, lanes, ..pipeline::Status::default() }
    }

    fn routed(routes: usize) -> Routed {
        Routed { is_settled: true, generation: 1, routes, ..Routed::default() }
    }

    #[test]
    fn lanes_add_up_to_topics() {
        let now = Instant::now();
        let mut view = FlowView::new("f".into(), Users::default());
        view.update(now, &routed(2), &status(vec![lane(0, 2, 10), lane(1, 0, 4)]));
        let gone = LifeCounts { offsets_skipped: 7, ..LifeCounts::default() };
        let went_on = LaneStatus { life: gone, ..lane(0, 12, 10) };
        let flow = view.update(now, &routed(2), &status(vec![went_on, blocked(1, Trouble::Fenced)]));
        let [topic] = &flow.topics[..] else { panic!("{flow:?}") };
        assert_eq!((topic.partitions, topic.stopped_partitions, topic.records), (2, 1, 15));
        assert_eq!((topic.lag_records, topic.life), (Some(3 + 12), gone));
        assert_eq!((topic.copied, topic.to_copy), (8 + 3, Some(8 + 10)));
        assert!(topic.trouble.as_deref().unwrap().contains("fenced"));
    }

    #[test]
    fn a_lane_that_does_not_move_tells_why_in_whatever_state_it_waits() {
        let mut view = FlowView::new("f".into(), Users::default());
        let unread = Trouble::Connection(Side::Source, "broker 0 is away".into());
        let states = [LaneState::Opening, LaneState::Probing, LaneState::Flowing, LaneState::Aged];
        for state in states {
            let waiting = LaneStatus { state, trouble: Some(unread.clone()), ..lane(1, 3, 10) };
            let flow = view.update(Instant::now(), &routed(2), &status(vec![lane(0, 2, 10), waiting]));
            let [topic] = &flow.topics[..] else { panic!("{flow:?}") };
            assert_eq!(topic.stopped_partitions, 1, "{state}");
            assert_eq!(
                topic.trouble.as_deref(),
                Some("no connection to the source: broker 0 is away"),
                "{state}"
            );
        }
        // Looked at again without a reason, with pauses.
        let waiting = LaneStatus { state: LaneState::Blocked, ..lane(0, 3, 10) };
        let flow = view.update(Instant::now(), &routed(1), &status(vec![waiting]));
        assert_eq!((flow.topics[0].stopped_partitions, flow.topics[0].trouble.as_deref()), (1, None));
    }

    #[test]
    fn a_lane_that_stands_without_a_reason_is_told_in_the_end() {
        let start = Instant::now();
        let mut view = FlowView::new("f".into(), Users::default());
        let mut trouble_after = |seconds, lane| {
            let now = start + Duration::from_secs(seconds);
            view.update(now, &routed(1), &status(vec![lane])).topics[0].trouble.clone()
        };
        assert_eq!(trouble_after(0, lane(0, 3, 10)), None);
        assert_eq!(trouble_after(59, lane(0, 3, 10)), None);
        let told = "nothing was copied for 61 s, and nobody says why (it is flowing)";
        assert_eq!(trouble_after(61, lane(0, 3, 10)).as_deref(), Some(told));
        assert_eq!(trouble_after(62, lane(0, 4, 10)), None);
        // The lane's end is five further than at the start: now there is nothing to do.
        assert_eq!(trouble_after(100, lane(0, 15, 10)), None);
        assert_eq!(trouble_after(200, lane(0, 15, 10)), None);
        assert_eq!(trouble_after(201, lane(0, 15, 20)), None);
        assert!(trouble_after(270, lane(0, 15, 20)).is_some());
    }

    #[test]
    fn what_stops_the_whole_connector_ends_the_wait() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let stopped = |trouble: Trouble, lanes| pipeline::Status { trouble: Some(trouble), ..status(lanes) };
        let opening = || LaneStatus { source_end_at_start: None, source_end: None, ..lane(0, 0, 0) };

        // No producer id: no lane ever opens.
        let refused = Trouble::Refused(
            Side::Destination,
            "InitProducerId",
            ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            None,
        );
        let mut view = FlowView::new("f".into(), Users::default());
        for seconds in [0, 9] {
            view.update(after(seconds), &routed(1), &stopped(refused.clone(), vec![opening()]));
            assert_eq!(view.verdict(after(seconds)), Verdict::NotYet);
        }
        let Verdict::Incomplete(reasons) = view.verdict(after(10)) else { panic!("it waits for ever") };
        assert!(reasons.len() == 1 && reasons[0].contains("InitProducerId"), "{reasons:?}");

        // A store that fails, while the copy goes on, and then not any more.
        let failing = Trouble::Store("no space".into());
        let mut view = FlowView::new("f".into(), Users::default());
        view.update(after(0), &routed(1), &stopped(failing.clone(), vec![lane(0, 3, 10)]));
        view.update(after(50), &routed(1), &stopped(failing.clone(), vec![lane(0, 4, 10)]));
        assert_eq!(view.verdict(after(70)), Verdict::NotYet, "it moves");
        let mut view = FlowView::new("f".into(), Users::default());
        for seconds in [0, 59] {
            view.update(after(seconds), &routed(1), &stopped(failing.clone(), vec![lane(0, 3, 10)]));
            assert_eq!(view.verdict(after(seconds)), Verdict::NotYet);
        }
        assert!(
            matches!(view.verdict(after(60)), Verdict::Incomplete(reasons) if reasons[0].contains("no space"))
        );
        view.update(after(61), &routed(1), &stopped(failing, vec![lane(0, 10, 10)]));
        assert_eq!(view.verdict(after(200)), Verdict::CaughtUp, "the stop will tell whether that is stored");

        // A cluster that is away may be back.
        let away = Trouble::Connection(Side::Destination, "refused".into());
        let mut view = FlowView::new("f".into(), Users::default());
        view.update(after(0), &routed(1), &stopped(away, vec![opening()]));
        assert_eq!(view.verdict(after(3600)), Verdict::NotYet);
    }

    #[test]
    fn the_copy_is_over_when_every_lane_has_passed_the_end_it_saw() {
        let now = Instant::now();
        let mut view = FlowView::new("f".into(), Users::default());
        assert_eq!(view.verdict(now), Verdict::NotYet);
        let cases = [
            (routed(2), vec![lane(0, 10, 10)], Verdict::NotYet), // a lane is not there yet
            (routed(2), vec![lane(0, 10, 10), lane(1, 3, 4)], Verdict::NotYet),
            (Routed { generation: 2, ..routed(2) }, vec![lane(0, 10, 10), lane(1, 4, 4)], Verdict::NotYet),
            (
                Routed { is_settled: false, ..routed(2) },
                vec![lane(0, 10, 10), lane(1, 4, 4)],
                Verdict::NotYet,
            ),
            (routed(2), vec![lane(0, 10, 10), lane(1, 4, 4)], Verdict::CaughtUp),
            (routed(0), vec![], Verdict::CaughtUp),
        ];
        for (routed, lanes, expected) in cases {
            view.update(now, &routed, &status(lanes.clone()));
            assert_eq!(view.verdict(now), expected, "{routed:?} {lanes:?}");
        }
        let unlooked = LaneStatus { source_end_at_start: None, ..lane(0, 0, 0) };
        view.update(now, &routed(1), &status(vec![unlooked]));
        assert_eq!(view.verdict(now), Verdict::NotYet);
    }

    #[test]
    fn trouble_that_passes_is_waited_for_and_the_rest_is_told() {
        let start = Instant::now();
        let late = start + PATIENCE + Duration::from_secs(1);
        let mut view = FlowView::new("f".into(), Users::default());
        let passing = status(vec![lane(0, 10, 10), blocked(1, Trouble::NoLeader(Side::Source))]);
        view.update(start, &routed(2), &passing);
        view.update(late, &routed(2), &passing);
        assert_eq!(view.verdict(late), Verdict::NotYet);

        let recreated =
            Trouble::SourceRecreated { position: Offset(3), log_start: Offset(0), end: Offset(10) };
        let lasting = status(vec![lane(0, 10, 10), blocked(1, recreated)]);
        let missing = Routed { not_copied: vec!["topic `x` is missing".into()], ..routed(2) };
        view.update(start, &missing, &lasting);
        assert_eq!(view.verdict(start), Verdict::NotYet);
        view.update(late, &missing, &lasting);
        let Verdict::Incomplete(reasons) = view.verdict(late) else { panic!("it never will be") };
        assert_eq!(reasons[0], "topic `x` is missing");
        assert!(
            reasons[1].starts_with("t-1: the source topic was deleted and created anew: the old one"),
            "{reasons:?}"
        );
    }
}
