//! Groups that the broker assigns (KIP-848).

use std::collections::BTreeMap;

use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::consumer_group_heartbeat_request::{ConsumerGroupHeartbeatRequest, TopicPartitions};
use protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse, GroupId,
    MetadataRequest, MetadataResponse, OffsetFetchResponse,
};

use crate::client::{Client, text, topic};
use crate::desk::Desk;
use crate::people::Person;

type Owned = BTreeMap<String, Vec<i32>>;

/// A consumer that says what it has done.
struct Consumer {
    client: Client,
    group: String,
    id: String,
    epoch: i32,
    instance: Option<&'static str>,
    owns: Owned,
    ids: BTreeMap<String, protocol::messages::metadata_response::MetadataResponseTopic>,
}

impl Consumer {
    async fn new(desk: &Desk, group: &str, id: &str) -> Consumer {
        Consumer {
            client: desk.connect().await,
            group: group.to_owned(),
            id: id.to_owned(),
            epoch: 0,
            instance: None,
            owns: Owned::new(),
            ids: BTreeMap::new(),
        }
    }

    fn bare(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_member_id(text(&self.id))
            .with_member_epoch(self.epoch)
            .with_instance_id(self.instance.map(text))
            .with_rebalance_timeout_ms(-1)
    }

    fn full(&self, topics: &[&str]) -> ConsumerGroupHeartbeatRequest {
        let owned = self.owns.iter().map(|(name, partitions)| {
            TopicPartitions::default()
                .with_topic_id(self.ids[name].topic_id)
                .with_partitions(partitions.clone())
        });
        self.bare()
            .with_rebalance_timeout_ms(30_000)
            .with_subscribed_topic_names(Some(topics.iter().map(|name| topic(name)).collect()))
            .with_topic_partitions(Some(owned.collect()))
    }

    async fn learn(&mut self, desk: &mut Desk) {
        let request = MetadataRequest::default().with_topics(None);
        let response: MetadataResponse = desk.client.call(ApiKey::Metadata, 12, &request).await;
        for told in response.topics {
            let name = told.name.as_ref().unwrap().0.to_string();
            self.ids.insert(name, told);
        }
    }

    /// Sends a heartbeat and takes over what it is answered.
    async fn send(&mut self, request: &ConsumerGroupHeartbeatRequest) -> String {
        let response: ConsumerGroupHeartbeatResponse =
            self.client.call(ApiKey::ConsumerGroupHeartbeat, 0, request).await;
        let code = ErrorCode(response.error_code);
        let mut told = "nothing new".to_owned();
        if let Some(assignment) = &response.assignment {
            self.owns.clear();
            for assigned in &assignment.topic_partitions {
                let found = self.ids.iter().find(|(_, known)| known.topic_id == assigned.topic_id);
                let mut partitions = assigned.partitions.clone();
                partitions.sort_unstable();
                self.owns.insert(found.unwrap().0.clone(), partitions);
            }
            told = format!("{:?}", self.sizes());
        }
        if code.is_ok() {
            self.epoch = response.member_epoch;
        }
        let is_me = response.member_id.as_deref() == Some(self.id.as_str());
        let interval_ms = response.heartbeat_interval_ms;
        let has_message = response.error_message.is_some();
        format!(
            "{code} epoch {} me {is_me} every {interval_ms} message {has_message} assigned {told}",
            response.member_epoch
        )
    }

    /// How many partitions of each topic: which ones depends on the order of random ids.
    fn sizes(&self) -> BTreeMap<&str, usize> {
        self.owns.iter().map(|(name, partitions)| (name.as_str(), partitions.len())).collect()
    }
}

async fn note_group(desk: &mut Desk, check: &str, group: &str) {
    let version = if desk.profile == Profile::V4_3 { 1 } else { 0 };
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text(group))]);
    let response: ConsumerGroupDescribeResponse =
        desk.client.call(ApiKey::ConsumerGroupDescribe, version, &request).await;
    let told = &response.groups[0];
    let count = |assignment: &protocol::messages::consumer_group_describe_response::Assignment| {
        let topics = assignment.topic_partitions.iter();
        let counted = topics.map(|topic| format!("{} {}", topic.topic_name.0, topic.partitions.len()));
        counted.collect::<std::collections::BTreeSet<_>>()
    };
    let mut members: Vec<String> = told
        .members
        .iter()
        .map(|member| {
            format!(
                "{} {:?} epoch {} reads {:?} {:?} has {:?} gets {:?} type {} at {}",
                member.member_id,
                member.instance_id.as_deref(),
                member.member_epoch,
                member.subscribed_topic_names.iter().map(|name| name.0.as_str()).collect::<Vec<_>>(),
                member.subscribed_topic_regex.as_deref(),
                count(&member.assignment),
                count(&member.target_assignment),
                member.member_type,
                member.client_host
            )
        })
        .collect();
    members.sort_unstable();
    desk.note(
        check,
        format!(
            "{} {:?} {} epoch {} assignment {} by {:?} {members:?}",
            ErrorCode(told.error_code),
            told.error_message.as_deref(),
            told.group_state,
            told.group_epoch,
            told.assignment_epoch,
            told.assignor_name
        ),
    );
}

pub(crate) async fn check(desk: &mut Desk) {
    if desk.profile < Profile::V3_9 {
        return;
    }
    if desk.profile == Profile::V3_9 {
        let mut ann = Consumer::new(desk, "modern", "ann").await;
        let request = ann.full(&["topic-1"]);
        let told = ann.send(&request).await;
        desk.note("a heartbeat to the older coordinator", told);
        note_group(desk, "a description by the older coordinator", "modern").await;
        return;
    }
    for (name, partitions) in [("six", 6), ("three", 3)] {
        assert_eq!(desk.create(name, partitions, 1, &[]).await, ErrorCode::NONE);
        desk.topic_comes(name).await;
    }
    // A coordinator is told last of a topic, and of each before the next.
    desk.topic(&[]).await;
    strange(desk).await;
    together(desk).await;
    offsets(desk).await;
    kept_places(desk).await;
    both_kinds(desk).await;
}

type Change = fn(ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest;

/// Heartbeats that make no sense.
async fn strange(desk: &mut Desk) {
    let changes: [(&str, Change); 12] = [
        ("no group", |request| request.with_group_id(GroupId(text("")))),
        ("an empty instance", |request| request.with_instance_id(Some(text("")))),
        ("an empty rack", |request| request.with_rack_id(Some(text("")))),
        ("no time-out", |request| request.with_rebalance_timeout_ms(-1)),
        ("no topics", |request| request.with_subscribed_topic_names(None)),
        ("empty topics", |request| request.with_subscribed_topic_names(Some(Vec::new()))),
        ("no owned partitions", |request| request.with_topic_partitions(None)),
        ("owned partitions", |request| {
            request.with_topic_partitions(Some(vec![TopicPartitions::default().with_partitions(vec![1])]))
        }),
        ("another assignor", |request| request.with_server_assignor(Some(text("best")))),
        ("an epoch too early", |request| request.with_member_epoch(3)),
        ("an epoch of -3", |request| request.with_member_epoch(-3)),
        ("an epoch of -2", |request| request.with_member_epoch(-2)),
    ];
    for (case, change) in changes {
        let mut ann = Consumer::new(desk, "strange", "ann").await;
        let request = change(ann.full(&["six"]));
        let told = ann.send(&request).await;
        desk.note(&format!("a heartbeat with {case}"), told);
    }
    let mut ann = Consumer::new(desk, "nobody-here", "ann").await;
    ann.epoch = -1;
    let told = ann.send(&ann.bare()).await;
    desk.note("leaving what does not exist", told);
    note_group(desk, "a group that does not exist", "nobody-here").await;
    note_group(desk, "a group without a name", "").await;
    note_group(desk, "a classic group", "connected").await;
}

/// One, two and three members.
async fn together(desk: &mut Desk) {
    let group = "together";
    let mut ann = Consumer::new(desk, group, "ann").await;
    ann.learn(desk).await;
    let told = ann.send(&ann.full(&["six"])).await;
    desk.note("the first joins", told);
    note_group(desk, "one member", group).await;
    let told = ann.send(&ann.bare()).await;
    desk.note("the first goes on", told);
    let told = ann.send(&ann.full(&["six"])).await;
    desk.note("the first tells all", told);

    let mut ben = Consumer::new(desk, group, "ben").await;
    ben.learn(desk).await;
    let told = ben.send(&ben.full(&["six"])).await;
    desk.note("the second joins", told);
    note_group(desk, "two members, one waits", group).await;
    let told = ann.send(&ann.bare()).await;
    desk.note("the first is to give back", told);
    note_group(desk, "two members, one gives back", group).await;
    let told = ben.send(&ben.bare()).await;
    desk.note("the second waits", told);
    let told = ann.send(&ann.bare()).await;
    desk.note("the first has not said so", told);
    let told = ann.send(&ann.full(&["six"])).await;
    desk.note("the first has given back", told);
    let told = ben.send(&ben.bare()).await;
    desk.note("the second gets its part", told);
    note_group(desk, "two members at rest", group).await;

    ann.epoch += 5;
    let told = ann.send(&ann.bare()).await;
    desk.note("an epoch of the future", told);
    ann.epoch -= 6;
    let told = ann.send(&ann.bare()).await;
    desk.note("an epoch of the past, saying nothing", told);
    let told = ann.send(&ann.full(&["six"])).await;
    desk.note("an epoch of the past, owning no more", told);
    let told = ann.send(&ann.bare()).await;
    desk.note("and on", told);
    let told = ann.send(&ann.full(&["six", "three", "no-such-topic"])).await;
    desk.note("another topic", told);
    let told = ann.send(&ann.full(&["six", "three"])).await;
    desk.note("another topic, owned", told);
    let told = ben.send(&ben.bare()).await;
    desk.note("the second sees another topic", told);
    note_group(desk, "different topics", group).await;

    let told = ben.send(&ben.bare().with_member_epoch(-1)).await;
    desk.note("the second leaves", told);
    note_group(desk, "after the second has left", group).await;
    let told = ben.send(&ben.bare()).await;
    desk.note("a heartbeat of who has left", told);
    let told = ann.send(&ann.bare()).await;
    desk.note("the first gets all", told);
    let told = ann.send(&ann.full(&["six", "three"]).with_server_assignor(Some(text("range")))).await;
    desk.note("another assignor is chosen", told);
    note_group(desk, "assigned by range", group).await;
    let mut joined = Consumer::new(desk, group, "ann").await;
    joined.learn(desk).await;
    let told = joined.send(&joined.full(&["six", "three"])).await;
    desk.note("a member begins anew", told);
    let told = joined.send(&joined.bare().with_member_epoch(-1)).await;
    desk.note("the last leaves", told);
    note_group(desk, "nobody is left", group).await;
    desk.note_group("nobody is left, as a classic group", group, &[]).await;
    let told = joined.send(&joined.bare().with_member_epoch(7)).await;
    desk.note("a heartbeat to what is left", told);
}

async fn fetch(desk: &mut Desk, group: &str, member: Option<&str>, epoch: i32) -> String {
    let asked = OffsetFetchRequestTopics::default().with_name(topic("six")).with_partition_indexes(vec![0]);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(group)))
        .with_member_id(member.map(text))
        .with_member_epoch(epoch)
        .with_topics(Some(vec![asked]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let response: OffsetFetchResponse = desk.client.call(ApiKey::OffsetFetch, 9, &request).await;
    let told = &response.groups[0];
    let offsets: Vec<String> = told
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|partition| format!("{} {}", ErrorCode(partition.error_code), partition.committed_offset))
        .collect();
    format!("{} {offsets:?}", ErrorCode(told.error_code))
}

/// What members commit, and see.
async fn offsets(desk: &mut Desk) {
    let group = "committing";
    let mut ann = Consumer::new(desk, group, "ann").await;
    ann.learn(desk).await;
    ann.send(&ann.full(&["six"])).await;
    for (case, id, epoch, version) in [
        ("its epoch", "ann", ann.epoch, 9),
        ("another epoch", "ann", ann.epoch + 1, 9),
        ("an older epoch", "ann", ann.epoch - 1, 9),
        ("another id", "ben", ann.epoch, 9),
        ("an older version", "ann", ann.epoch, 8),
        ("nobody's id", "", -1, 9),
    ] {
        let mut person = Person::new(desk, "x", group).await;
        person.id = id.to_owned();
        person.generation = epoch;
        person.versions[4] = version;
        desk.note(&format!("a commit with {case}"), person.commit("six", 40).await);
    }
    for (case, member, epoch) in [
        ("its epoch", Some("ann"), ann.epoch),
        ("another epoch", Some("ann"), ann.epoch + 1),
        ("another id", Some("ben"), ann.epoch),
        ("nobody's id", None, -1),
        ("an empty id", Some(""), -1),
    ] {
        let told = fetch(desk, group, member, epoch).await;
        desk.note(&format!("a fetch of offsets with {case}"), told);
    }
    ann.send(&ann.bare().with_member_epoch(-1)).await;
    let mut person = Person::new(desk, "x", group).await;
    desk.note("a commit when nobody is left", person.commit("six", 41).await);
    let told = fetch(desk, group, None, -1).await;
    desk.note("a fetch of offsets when nobody is left", told);
}

/// Static members.
async fn kept_places(desk: &mut Desk) {
    let group = "kept-places";
    let mut ann = Consumer::new(desk, group, "ann").await;
    ann.instance = Some("i-1");
    ann.learn(desk).await;
    let told = ann.send(&ann.full(&["six"])).await;
    desk.note("a static one joins", told);
    let mut other = Consumer::new(desk, group, "other").await;
    other.instance = Some("i-1");
    other.learn(desk).await;
    let told = other.send(&other.full(&["six"])).await;
    desk.note("its instance is still used", told);
    let told = other.send(&other.bare().with_member_epoch(1)).await;
    desk.note("a heartbeat with the instance of another", told);
    let told = other.send(&other.bare().with_instance_id(Some(text("i-9"))).with_member_epoch(1)).await;
    desk.note("a heartbeat with an unknown instance", told);
    let told = ann.send(&ann.bare().with_member_epoch(-2)).await;
    desk.note("a static one leaves for a while", told);
    note_group(desk, "while a static one is away", group).await;
    let told = other.send(&other.full(&["six"])).await;
    desk.note("a static one is back", told);
    note_group(desk, "after a static one came back", group).await;
    ann.epoch = 1;
    let told = ann.send(&ann.bare()).await;
    desk.note("a heartbeat of its former self", told);
    let told = other.send(&other.bare().with_member_epoch(-1)).await;
    desk.note("a static one leaves", told);
    note_group(desk, "after a static one left", group).await;
}

/// A group changes its kind only while it has no members.
async fn both_kinds(desk: &mut Desk) {
    let group = "kinds";
    let mut person = Person::new(desk, "person", group).await;
    person.join().await;
    person.sync(&[]).await;
    desk.note("a commit before a change of kind", person.commit("six", 51).await);
    person.leave().await;
    let mut ann = Consumer::new(desk, group, "ann").await;
    ann.learn(desk).await;
    let told = ann.send(&ann.full(&["six"])).await;
    desk.note("from classic to modern", told);
    let told = fetch(desk, group, None, -1).await;
    desk.note("offsets after a change of kind", told);
    desk.note_group("a modern group as a classic one", group, &[]).await;
    let mut odd = Person::new(desk, "odd", group).await;
    odd.protocol_type = "connect";
    odd.send_join().await;
    let response = odd.receive_join().await;
    desk.note("another type joins a modern group", ErrorCode(response.error_code));
    ann.send(&ann.bare().with_member_epoch(-1)).await;
    let mut back = Person::new(desk, "back", group).await;
    let response = back.join().await;
    desk.note("from modern to classic", ErrorCode(response.error_code));
    note_group(desk, "a classic group as a modern one", group).await;
    back.leave().await;
}
