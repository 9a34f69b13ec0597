//! What a flow has to be allowed to do at its clusters, in the words of Kafka's ACLs.
//!
//! READ, WRITE and ALTER include DESCRIBE; rights on a topic may be given by its name or by a prefix.
//!
//! Source: Kafka's documentation, "Protocols and ACLs"; what each request of ours is sent for.

use std::fmt;

use model::TopicName;
use serde_json::{Value, json};

use crate::desired::TopicPolicy;
use crate::naming::Naming;
use crate::selection::{Selection, is_internal_name};
use crate::settings::quoted;

/// One thing that the user of a cluster must be allowed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// Where.
    pub side: Side,
    /// With what.
    pub resource: Resource,
    /// What, as Kafka calls it: `READ`, `DESCRIBE_CONFIGS`.
    pub operation: &'static str,
    /// What it is needed for.
    pub why: &'static str,
    /// Copying goes on without it, with the loss of what it is for.
    pub optional: bool,
}

/// Whose user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The source's.
    Source,
    /// The destination's.
    Destination,
    /// That of the cluster in which progress is kept.
    Progress,
}

/// What a right is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Topics by name, and those that a pattern finds.
    Topics {
        /// By name. Sorted.
        names: Vec<TopicName>,
        /// What `topic.regex` matches, as written.
        regex: Option<String>,
        /// What a topic that the pattern finds is called here: `${topic}` at the source.
        format: String,
    },
    /// A consumer group.
    Group(String),
    /// The cluster itself (`kafka-cluster`).
    Cluster,
}

/// A flow, as far as its rights depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Claims<'a> {
    /// Which topics it copies.
    pub selection: &'a Selection,
    /// What it calls them.
    pub naming: &'a Naming,
    /// What it does to them.
    pub topics: &'a TopicPolicy,
    /// The group at the source whose offsets are where a copy begins.
    pub group: Option<&'a str>,
    /// The flow commits in that group how far it is.
    pub commits: bool,
    /// It copies ACLs.
    pub acls: bool,
    /// The topic in which progress is kept.
    pub progress_topic: Option<&'a str>,
    /// The destination gives producer ids to whoever may write to a topic (2.8 and newer); `None` if that is not known.
    pub destination_since_2_8: Option<bool>,
}

/// Every right that a flow needs, by side, those about topics first.
pub fn rights(claims: &Claims<'_>) -> Vec<Right> {
    let mut rights = at_source(claims);
    rights.extend(at_destination(claims));
    rights.extend(of_progress(claims));
    rights
}

fn at_source(claims: &Claims<'_>) -> Vec<Right> {
    let topics = || sources(claims.selection);
    let side = Side::Source;
    let mut rights = vec![
        Right { side, resource: topics(), operation: "READ", why: "records are read", optional: false },
        Right {
            side,
            resource: topics(),
            operation: "DESCRIBE_CONFIGS",
            why: "copies get the settings of their sources",
            // Nothing is created from settings that are not known.
            optional: !claims.topics.auto_create,
        },
    ];
    if let Some(group) = claims.group {
        let (operation, why) = match claims.commits {
            true => ("READ", "how far the copy is is committed in the connector's group"),
            false => ("DESCRIBE", "a copy begins at the offset that the group has committed, if it has"),
        };
        let resource = Resource::Group(group.to_owned());
        rights.push(Right { side, resource, operation, why, optional: false });
    }
    rights.extend(of_acls(claims, side, "DESCRIBE", "ACLs are read"));
    rights
}

/// Without it topics are copied, and no ACLs.
fn of_acls(claims: &Claims<'_>, side: Side, operation: &'static str, why: &'static str) -> Option<Right> {
    claims.acls.then_some(Right { side, resource: Resource::Cluster, operation, why, optional: true })
}

fn at_destination(claims: &Claims<'_>) -> Vec<Right> {
    let (side, policy) = (Side::Destination, claims.topics);
    let on_topics = |operation, why, optional| {
        let resource = copies(claims.selection, claims.naming);
        Right { side, resource, operation, why, optional }
    };
    let mut rights = vec![
        on_topics("WRITE", "records are written", false),
        on_topics("READ", "where a copy stands is read from its end after an interruption", false),
    ];
    if policy.auto_create {
        rights.push(on_topics(
            "CREATE",
            "copies that are missing are created; before Kafka 2.0 on the cluster",
            false,
        ));
    }
    if policy.preserve_partitions {
        rights.push(on_topics("ALTER", "copies get the partitions that their sources get", false));
    }
    rights.push(on_topics(
        "DESCRIBE_CONFIGS",
        "whether batches pass unchanged is told by the settings",
        true,
    ));
    if policy.config_sync {
        rights.push(on_topics("ALTER_CONFIGS", "settings are changed so that batches pass unchanged", true));
    }
    if policy.auto_create {
        rights.push(Right {
            side,
            resource: Resource::Cluster,
            operation: "DESCRIBE_CONFIGS",
            why: "what the version knows and new topics get by default is asked of a broker",
            optional: true,
        });
    }
    rights.extend(producer_id(side, claims.destination_since_2_8));
    rights.extend(of_acls(claims, side, "ALTER", "ACLs are read, created and deleted"));
    rights
}

fn producer_id(side: Side, since_2_8: Option<bool>) -> Option<Right> {
    let (why, optional) = match since_2_8 {
        Some(true) => return None,
        Some(false) => ("a producer id is given out", false),
        None => ("a producer id is given out, before Kafka 2.8; later WRITE on a topic is enough", true),
    };
    Some(Right { side, resource: Resource::Cluster, operation: "IDEMPOTENT_WRITE", why, optional })
}

fn of_progress(claims: &Claims<'_>) -> Vec<Right> {
    let Some(topic) = claims.progress_topic else { return Vec::new() };
    let right = |operation, why, optional| {
        let resource =
            Resource::Topics { names: vec![topic.into()], regex: None, format: "${topic}".to_owned() };
        Right { side: Side::Progress, resource, operation, why, optional }
    };
    let mut rights = vec![
        right("READ", "progress is read at the start", false),
        right("WRITE", "progress is stored", false),
        right("CREATE", "the offsets topic is created where it is missing", true),
        right("DESCRIBE_CONFIGS", "that the topic keeps what it is told is checked", true),
    ];
    rights.extend(producer_id(Side::Progress, None));
    rights
}

/// The selected topics at the source.
fn sources(selection: &Selection) -> Resource {
    let wanted = selection.whitelist.difference(&selection.blacklist).filter(|name| !is_internal_name(name));
    Resource::Topics {
        names: wanted.cloned().collect(),
        regex: selection.regex.as_ref().map(|regex| regex.as_str().to_owned()),
        format: "${topic}".to_owned(),
    }
}

/// Their copies at the destination.
fn copies(selection: &Selection, naming: &Naming) -> Resource {
    match sources(selection) {
        Resource::Topics { names, regex, .. } if !naming.is_fixed() => Resource::Topics {
            names: names.iter().map(|name| naming.destination(name)).collect(),
            regex,
            format: naming.to_string(),
        },
        _ => {
            let name = naming.destination(&TopicName::from(""));
            Resource::Topics { names: vec![name], regex: None, format: naming.to_string() }
        }
    }
}

impl Right {
    /// The right as a JSON object, for the document of a plan.
    pub fn json(&self) -> Value {
        let resource = match &self.resource {
            Resource::Topics { names, regex, format } => json!({
                "type": "topic",
                "names": names.iter().map(TopicName::as_str).collect::<Vec<_>>(),
                "regex": regex,
                "format": format,
            }),
            Resource::Group(name) => json!({ "type": "group", "name": name }),
            Resource::Cluster => json!({ "type": "cluster" }),
        };
        json!({
            "side": self.side.word(),
            "operation": self.operation,
            "resource": resource,
            "why": self.why,
            "optional": self.optional,
        })
    }
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Side::Source => "source",
            Side::Destination => "destination",
            Side::Progress => "progress",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Topics { names, regex, format } => {
                f.write_str("topics ")?;
                f.write_str(&quoted(names))?;
                let Some(regex) = regex else { return Ok(()) };
                match (names.is_empty(), format.as_str()) {
                    (true, "${topic}") => write!(f, "that match `{regex}`"),
                    (false, "${topic}") => write!(f, " and those that match `{regex}`"),
                    (true, format) => write!(f, "`{format}` of those that match `{regex}`"),
                    (false, format) => write!(f, " and `{format}` of those that match `{regex}`"),
                }
            }
            Resource::Group(name) => write!(f, "group `{name}`"),
            Resource::Cluster => f.write_str("the cluster"),
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Right { side, resource, operation, why, optional } = self;
        let optional = if *optional { ", optional" } else { "" };
        let place = match side {
            Side::Source => "at the source",
            Side::Destination => "at the destination",
            Side::Progress => "where progress is kept",
        };
        write!(f, "{operation} on {resource} {place}  ({why}{optional})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;

    fn told(selection: &Selection, format: &str, change: impl FnOnce(&mut TopicPolicy)) -> Vec<String> {
        let mut topics = TopicPolicy::default();
        change(&mut topics);
        let naming = Naming::new(format).unwrap();
        let claims = Claims {
            selection,
            naming: &naming,
            topics: &topics,
            group: Some("g"),
            commits: topics.auto_create,
            acls: topics.auto_create,
            progress_topic: topics.auto_create.then_some("connect-offsets"),
            destination_since_2_8: if topics.auto_create { None } else { Some(true) },
        };
        rights(&claims).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_flow_that_does_everything_needs_every_right() {
        let selection = Selection {
            whitelist: ["a", "b", "out", "__consumer_offsets"].map(Into::into).into(),
            blacklist: ["out".into()].into(),
            regex: Some(Pattern::new("shop.*").unwrap()),
        };
        let copies = "topics `x.a`, `x.b` and `x.${topic}` of those that match `shop.*`";
        assert_eq!(
            told(&selection, "x.${topic}", |_| {}),
            [
                "READ on topics `a`, `b` and those that match `shop.*` at the source  (records are read)".to_owned(),
                "DESCRIBE_CONFIGS on topics `a`, `b` and those that match `shop.*` at the source  (copies get the settings of their sources)".to_owned(),
                "READ on group `g` at the source  (how far the copy is is committed in the connector's group)".to_owned(),
                "DESCRIBE on the cluster at the source  (ACLs are read, optional)".to_owned(),
                format!("WRITE on {copies} at the destination  (records are written)"),
                format!("READ on {copies} at the destination  (where a copy stands is read from its end after an interruption)"),
                format!("CREATE on {copies} at the destination  (copies that are missing are created; before Kafka 2.0 on the cluster)"),
                format!("ALTER on {copies} at the destination  (copies get the partitions that their sources get)"),
                format!("DESCRIBE_CONFIGS on {copies} at the destination  (whether batches pass unchanged is told by the settings, optional)"),
                format!("ALTER_CONFIGS on {copies} at the destination  (settings are changed so that batches pass unchanged, optional)"),
                "DESCRIBE_CONFIGS on the cluster at the destination  (what the version knows and new topics get by default is asked of a broker, optional)".to_owned(),
                "IDEMPOTENT_WRITE on the cluster at the destination  (a producer id is given out, before Kafka 2.8; later WRITE on a topic is enough, optional)".to_owned(),
                "ALTER on the cluster at the destination  (ACLs are read, created and deleted, optional)".to_owned(),
                "READ on topics `connect-offsets` where progress is kept  (progress is read at the start)".to_owned(),
                "WRITE on topics `connect-offsets` where progress is kept  (progress is stored)".to_owned(),
                "CREATE on topics `connect-offsets` where progress is kept  (the offsets topic is created where it is missing, optional)".to_owned(),
                "DESCRIBE_CONFIGS on topics `connect-offsets` where progress is kept  (that the topic keeps what it is told is checked, optional)".to_owned(),
                "IDEMPOTENT_WRITE on the cluster where progress is kept  (a producer id is given out, before Kafka 2.8; later WRITE on a topic is enough, optional)".to_owned(),
            ]
        );
    }

    #[test]
    fn a_flow_that_changes_no_topic_needs_few() {
        let selection = Selection { whitelist: ["a".into()].into(), ..Selection::default() };
        let few = told(&selection, "all", |policy| {
            policy.auto_create = false;
            policy.preserve_partitions = false;
            policy.config_sync = false;
        });
        assert_eq!(
            few,
            [
                "READ on topics `a` at the source  (records are read)",
                "DESCRIBE_CONFIGS on topics `a` at the source  (copies get the settings of their sources, optional)",
                "DESCRIBE on group `g` at the source  (a copy begins at the offset that the group has committed, if it has)",
                "WRITE on topics `all` at the destination  (records are written)",
                "READ on topics `all` at the destination  (where a copy stands is read from its end after an interruption)",
                "DESCRIBE_CONFIGS on topics `all` at the destination  (whether batches pass unchanged is told by the settings, optional)",
            ]
        );
    }

    #[test]
    fn a_right_is_json_with_its_resource_apart() {
        let topics =
            Resource::Topics { names: vec!["a".into()], regex: Some("b.*".into()), format: "x".into() };
        let right = |resource| {
            Right { side: Side::Source, resource, operation: "READ", why: "so", optional: true }
                .json()
                .to_string()
        };
        let expected = |resource: &str| {
            format!(
                r#"{{"side":"source","operation":"READ","resource":{resource},"why":"so","optional":true}}"#
            )
        };
        let of_topics = r#"{"type":"topic","names":["a"],"regex":"b.*","format":"x"}"#;
        assert_eq!(right(topics), expected(of_topics));
        assert_eq!(right(Resource::Group("g".into())), expected(r#"{"type":"group","name":"g"}"#));
        assert_eq!(right(Resource::Cluster), expected(r#"{"type":"cluster"}"#));
    }
}
