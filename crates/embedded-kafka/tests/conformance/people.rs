//! People who join groups: a connection each, and how what they are told is put into words.

use bytes::Bytes;
use embedded_kafka::{ApiKey, ErrorCode, Profile};
use protocol::messages::describe_groups_response::DescribedGroup;
use protocol::messages::heartbeat_request::HeartbeatRequest;
use protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId, HeartbeatResponse, JoinGroupResponse,
    LeaveGroupResponse, OffsetCommitResponse, SyncGroupResponse,
};

use crate::client::{Client, text, topic};
use crate::desk::Desk;

/// The newest versions that a profile offers: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit.
pub(crate) fn newest(profile: Profile) -> [i16; 5] {
    match profile {
        Profile::V1_1 => [2, 1, 1, 1, 3],
        Profile::V2_8 => [7, 5, 4, 4, 8],
        Profile::V3_9 | Profile::V4_3 => [9, 5, 4, 5, 9],
    }
}

/// Somebody with a connection, who wants to be in a group.
pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) client: Client,
    pub(crate) group: String,
    pub(crate) versions: [i16; 5],
    pub(crate) id: String,
    pub(crate) instance: Option<&'static str>,
    pub(crate) generation: i32,
    pub(crate) session_ms: i32,
    pub(crate) rebalance_ms: i32,
    pub(crate) protocol_type: &'static str,
    pub(crate) protocols: Vec<(&'static str, Vec<u8>)>,
    pub(crate) chosen: Option<String>,
}

/// What a consumer says that reads these topics.
pub(crate) fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
    for name in topics {
        bytes.extend(i16::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend(name.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes
}

impl Person {
    pub(crate) async fn new(desk: &Desk, name: &'static str, group: &str) -> Person {
        Person {
            name,
            client: desk.connect().await,
            group: group.to_owned(),
            versions: newest(desk.profile),
            id: String::new(),
            instance: None,
            generation: -1,
            session_ms: 30_000,
            rebalance_ms: 30_000,
            protocol_type: "consumer",
            protocols: vec![("range", subscription(&["topic-1"]))],
            chosen: None,
        }
    }

    pub(crate) fn static_as(mut self, instance: &'static str) -> Person {
        self.instance = Some(instance);
        self
    }

    pub(crate) fn with_protocols(mut self, names: &[&'static str]) -> Person {
        self.protocols = names.iter().map(|name| (*name, subscription(&["topic-1"]))).collect();
        self
    }

    pub(crate) async fn send_join(&mut self) {
        let version = self.versions[0];
        let protocols = self.protocols.iter().map(|(name, metadata)| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(Bytes::copy_from_slice(metadata))
        });
        let mut request = JoinGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_session_timeout_ms(self.session_ms)
            .with_member_id(text(&self.id))
            .with_protocol_type(text(self.protocol_type))
            .with_protocols(protocols.collect());
        if version >= 1 {
            request.rebalance_timeout_ms = self.rebalance_ms;
        }
        if version >= 5 {
            request.group_instance_id = self.instance.map(text);
        }
        self.client.send(ApiKey::JoinGroup, version, &request).await;
    }

    /// Reads the answer to a join and remembers who it made this person.
    pub(crate) async fn receive_join(&mut self) -> JoinGroupResponse {
        let response: JoinGroupResponse =
            self.client.receive(ApiKey::JoinGroup, self.versions[0]).await.unwrap();
        self.generation = response.generation_id;
        self.chosen = response.protocol_name.as_ref().map(ToString::to_string);
        if !response.member_id.is_empty() {
            self.id = response.member_id.to_string();
        }
        response
    }

    /// Joins, twice if the first time only gives an id.
    pub(crate) async fn start_joining(&mut self) {
        self.send_join().await;
        if self.versions[0] >= 4 && self.instance.is_none() && self.id.is_empty() {
            let response = self.receive_join().await;
            assert_eq!(ErrorCode(response.error_code), ErrorCode::MEMBER_ID_REQUIRED);
            self.send_join().await;
        }
    }

    pub(crate) async fn join(&mut self) -> JoinGroupResponse {
        self.start_joining().await;
        self.receive_join().await
    }

    /// Joins just once, whatever the answer is.
    pub(crate) async fn join_once(&mut self) -> JoinGroupResponse {
        self.send_join().await;
        self.receive_join().await
    }

    pub(crate) async fn send_sync(&mut self, assignments: &[(&str, &str)]) {
        let version = self.versions[1];
        let assigned = assignments.iter().map(|(id, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(id))
                .with_assignment(Bytes::copy_from_slice(assignment.as_bytes()))
        });
        let mut request = SyncGroupRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id))
            .with_assignments(assigned.collect());
        if version >= 3 {
            request.group_instance_id = self.instance.map(text);
        }
        if version >= 5 {
            request.protocol_type = Some(text(self.protocol_type));
            request.protocol_name = Some(text(self.chosen.as_deref().unwrap_or_default()));
        }
        self.client.send(ApiKey::SyncGroup, version, &request).await;
    }

    pub(crate) async fn receive_sync(&mut self) -> String {
        let response: SyncGroupResponse =
            self.client.receive(ApiKey::SyncGroup, self.versions[1]).await.unwrap();
        format!(
            "{} {:?} of {:?} {:?}",
            ErrorCode(response.error_code),
            String::from_utf8_lossy(&response.assignment),
            response.protocol_name.as_deref(),
            response.protocol_type.as_deref()
        )
    }

    pub(crate) async fn sync(&mut self, assignments: &[(&str, &str)]) -> String {
        self.send_sync(assignments).await;
        self.receive_sync().await
    }

    pub(crate) async fn heartbeat(&mut self) -> ErrorCode {
        let version = self.versions[2];
        let mut request = HeartbeatRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id(self.generation)
            .with_member_id(text(&self.id));
        if version >= 3 {
            request.group_instance_id = self.instance.map(text);
        }
        let response: HeartbeatResponse = self.client.call(ApiKey::Heartbeat, version, &request).await;
        ErrorCode(response.error_code)
    }

    /// The codes of the whole and, where there are some, of the members.
    pub(crate) async fn leave(&mut self) -> String {
        let version = self.versions[3];
        let mut request = LeaveGroupRequest::default().with_group_id(GroupId(text(&self.group)));
        if version >= 3 {
            let member = MemberIdentity::default()
                .with_member_id(text(&self.id))
                .with_group_instance_id(self.instance.map(text));
            let other = MemberIdentity::default().with_member_id(text("nobody-at-all"));
            request.members = vec![member, other];
        } else {
            request.member_id = text(&self.id);
        }
        let response: LeaveGroupResponse = self.client.call(ApiKey::LeaveGroup, version, &request).await;
        let members: Vec<ErrorCode> =
            response.members.iter().map(|member| ErrorCode(member.error_code)).collect();
        format!("{} {members:?}", ErrorCode(response.error_code))
    }

    pub(crate) async fn commit(&mut self, name: &str, offset: i64) -> ErrorCode {
        let version = self.versions[4];
        let partition = OffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("")));
        let asked =
            OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        let mut request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(&self.group)))
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(text(&self.id))
            .with_topics(vec![asked]);
        if version >= 7 {
            request.group_instance_id = self.instance.map(text);
        }
        let response: OffsetCommitResponse = self.client.call(ApiKey::OffsetCommit, version, &request).await;
        ErrorCode(response.topics[0].partitions[0].error_code)
    }
}

/// The name of whoever has this id.
pub(crate) fn name_of(id: &str, people: &[&Person]) -> String {
    match people.iter().find(|person| person.id == id) {
        _ if id.is_empty() => "nobody".to_owned(),
        Some(person) => person.name.to_owned(),
        None => "a stranger".to_owned(),
    }
}

/// The answer to a join in words.
pub(crate) fn joined(response: &JoinGroupResponse, people: &[&Person]) -> String {
    let mut members: Vec<String> = response
        .members
        .iter()
        .map(|member| {
            let instance = member.group_instance_id.as_deref().unwrap_or("-");
            format!("{} {instance} {}", name_of(&member.member_id, people), member.metadata.len())
        })
        .collect();
    members.sort_unstable();
    format!(
        "{} generation {} {:?} {:?} leader {} skip {} as {} {members:?}",
        ErrorCode(response.error_code),
        response.generation_id,
        response.protocol_type.as_deref(),
        response.protocol_name.as_deref(),
        name_of(&response.leader, people),
        response.skip_assignment,
        name_of(&response.member_id, people),
    )
}

/// Lets people join a group one after the other, all while it waits for the first time. Where that takes
/// longer than the group waits they begin anew, with another group.
pub(crate) async fn gather(desk: &mut Desk, people: &mut [Person]) {
    let name = people[0].group.clone();
    for attempt in 0..20 {
        let group = format!("{name}{}", "'".repeat(attempt));
        let mut together = true;
        for (index, person) in people.iter_mut().enumerate() {
            person.group.clone_from(&group);
            person.start_joining().await;
            let still_waits = async |desk: &mut Desk| {
                let told = desk.describe_group(&group).await;
                let is_over = ["CompletingRebalance", "Stable"].contains(&told.group_state.as_str());
                (is_over || told.members.len() == index + 1).then_some(!is_over)
            };
            together &= desk.eventually(&format!("member {index} of {group}"), still_waits).await;
        }
        if together {
            return;
        }
        for person in people.iter_mut() {
            person.client = desk.connect().await;
            person.id.clear();
        }
    }
    panic!("group {name} never waits long enough");
}

impl Desk {
    pub(crate) async fn describe_group(&mut self, group: &str) -> DescribedGroup {
        let version = match self.profile {
            Profile::V1_1 => 1,
            Profile::V2_8 | Profile::V3_9 => 5,
            Profile::V4_3 => 6,
        };
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]);
        let mut response: DescribeGroupsResponse =
            self.client.call(ApiKey::DescribeGroups, version, &request).await;
        response.groups.remove(0)
    }

    pub(crate) async fn note_group(&mut self, check: &str, group: &str, people: &[&Person]) {
        let told = self.describe_group(group).await;
        let mut members: Vec<String> = told
            .members
            .iter()
            .map(|member| {
                format!(
                    "{} {:?} {} at {} metadata {} got {:?}",
                    name_of(&member.member_id, people),
                    member.group_instance_id.as_deref(),
                    member.client_id,
                    member.client_host,
                    member.member_metadata.len(),
                    String::from_utf8_lossy(&member.member_assignment)
                )
            })
            .collect();
        members.sort_unstable();
        self.note(
            check,
            format!(
                "{} {} {:?} {:?} {:?} {members:?}",
                ErrorCode(told.error_code),
                told.group_state,
                told.protocol_type,
                told.protocol_data,
                told.error_message
            ),
        );
    }

    /// Waits until a group is in a state, with so many members.
    pub(crate) async fn group_gets(&mut self, group: &str, state: &str, members: usize) {
        self.eventually(&format!("group {group} to be {state} with {members} members"), async |desk| {
            let told = desk.describe_group(group).await;
            (told.group_state.as_str() == state && told.members.len() == members).then_some(())
        })
        .await;
    }
}
