//! The one table of every property that is known: a file per group, and where each group may stand.
//!
//! A [`Property`] is written once, without a prefix; a [`Scope`] says under which prefix of which file
//! its groups may be written and whom they concern there. So `src.kafka.client.id`,
//! `producer.override.client.id` and the worker's `client.id` are one entry. Reading, validation, the
//! report and the reference page all come from here.

mod client;
mod connector;
mod consumer;
mod offsets;
mod own;
mod producer;
mod retired;
mod schemas;
mod security;
mod topics;
mod worker;

use std::fmt;

use crate::value::Kind;

/// What a file configures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FileKind {
    /// The process: what `connect-standalone` takes first.
    Worker,
    /// One flow: what it takes after that.
    Connector,
    /// Both clusters and all flows at once, for `connect-mirror-maker`.
    MirrorMaker,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::Worker => "worker",
            FileKind::Connector => "connector",
            FileKind::MirrorMaker => "MirrorMaker 2",
        })
    }
}

/// One property.
#[derive(Debug)]
pub struct Property {
    /// Its name without a prefix. A last `*` stands for everything that begins so.
    pub name: &'static str,
    /// Type, unit and range.
    pub kind: Kind,
    /// What holds when it is left out; `None` where that is nothing, or said in `says`.
    pub default: Option<&'static str>,
    /// What becomes of it here.
    pub status: Status,
    /// What it does, in a sentence.
    pub says: &'static str,
}

/// What becomes of a property here.
#[derive(Clone, Copy, Debug)]
pub enum Status {
    /// Read and followed.
    Used,
    /// Accepted without effect, because nothing here corresponds to it.
    NoMeaning(Why),
    /// Recognised, but what it asks for is not built yet.
    NotBuilt {
        /// What it asks for.
        feature: Feature,
        /// The values, of all or of each part of a list, that ask for nothing: not worth a word.
        off: &'static [&'static str],
        /// Whether any other value stops the start, because ignoring it would change what is copied.
        refuse: bool,
    },
    /// Often written, but read by nobody, Replicator included; and what was probably meant.
    Misnomer(&'static str),
}

macro_rules! phrases {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $phrase:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum $name {
            $($(#[$variant_doc])* #[doc = concat!("— ", $phrase, ".")] $variant,)*
        }

        impl $name {
            /// The phrase for messages and for the reference.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $phrase,)*
                }
            }
        }
    };
}

phrases! {
    /// Why a property has no meaning here.
    Why {
        /// ZooKeeper addresses and time-outs.
        ZooKeeper = "ZooKeeper is not needed",
        /// Keys and topics of Confluent's licence.
        Licence = "no licence is needed",
        /// Confluent's monitoring interceptors.
        Monitoring = "there are no monitoring interceptors",
        /// Settings of a converter that passes bytes.
        Converter = "records pass as bytes, with no converter to set up",
        /// How Java finds and loads classes.
        Plugins = "no Java classes are loaded",
        /// The consumer's poll loop and group membership.
        Consumer = "partitions are fetched directly, with no consumer group or poll loop",
        /// How a producer groups and compresses records.
        Producer = "batches are passed on as they are, with their own compression",
        /// How a client paces itself.
        Network = "the client paces its connections by itself",
        /// Client metrics for JMX.
        Metrics = "there is no JMX",
        /// What would make copies exact.
        ExactlyOnce = "every record is copied exactly once in any case",
        /// What would let records fall by the side.
        NeverSkipped = "no record is ever skipped for an error",
        /// What Replicator overrides.
        Fixed = "it is fixed, as it is in Replicator",
        /// How whoever gets a token judges it.
        Judged = "tokens are judged by the brokers",
        /// When a ticket of Kerberos is replaced.
        Tickets = "tickets are got with the keytab before they end, and a ticket cache is read for each log-in",
        /// What is for connectors out of Kafka.
        Sink = "it serves sink connectors only",
        /// What Connect and its connectors say to each other.
        Internal = "it is internal to Kafka Connect",
    }
}

phrases! {
    /// What is not built yet.
    Feature {
        /// Java's ways to change how connections are secured.
        JavaSecurity = "classes and providers of Java",
        /// What shows an identity provider who we are, instead of a secret.
        Assertions = "assertions to an identity provider",
        /// Single message transforms.
        Transforms = "transforms and predicates",
        /// The provenance header and the loops it breaks.
        Provenance = "provenance headers",
        /// Consumer groups' offsets at the destination.
        Translation = "translation of consumer offsets",
        /// A schema registry's contents through its own interface.
        Schemas = "schema migration",
        /// HTTP.
        Rest = "the REST interface",
        /// Several workers as one.
        Distributed = "sharing work among workers",
        /// Java code that sees each record.
        Interceptors = "interceptors",
        /// Where to begin besides the beginning.
        StartAtEnd = "starting at the end of a topic",
        /// Fine-tuning of sockets and name look-ups.
        Sockets = "tuning of sockets and name look-ups",
    }
}

/// Whom the properties under a prefix concern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The file's own properties; in a worker's file also the destination's connections.
    Own,
    /// Connections to the source cluster.
    Source,
    /// Connections to the destination cluster.
    Destination,
    /// Clients that do not exist here.
    Nobody(Why),
}

/// A heading of the reference and the properties under it.
#[derive(Debug)]
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The properties.
    pub properties: &'static [Property],
}

/// A prefix in a kind of file, and the groups that may stand behind it.
#[derive(Debug)]
pub struct Scope {
    /// The kind of file.
    pub file: FileKind,
    /// The prefix, with its last dot; empty for none.
    pub prefix: &'static str,
    /// Whom it concerns.
    pub side: Side,
    /// What may stand behind the prefix; the first group that has a name wins.
    pub groups: &'static [&'static Group],
    /// What the prefix is for.
    pub says: &'static str,
}

use client::CLIENT;
use consumer::CONSUMER;
use producer::PRODUCER;
use security::SECURITY;

/// All scopes. Longer prefixes stand before shorter ones.
pub static SCOPES: &[Scope] = &[
    Scope {
        file: FileKind::Connector,
        prefix: "consumer.override.",
        side: Side::Nobody(Why::Sink),
        groups: &[&CONSUMER, &CLIENT, &SECURITY],
        says: "consumers of sink connectors: accepted without effect",
    },
    Scope {
        file: FileKind::Connector,
        prefix: "producer.override.",
        side: Side::Destination,
        groups: &[&PRODUCER, &CLIENT, &SECURITY],
        says: "connections to the destination, where `dest.kafka.` says nothing",
    },
    Scope {
        file: FileKind::Connector,
        prefix: "admin.override.",
        side: Side::Destination,
        groups: &[&CLIENT, &SECURITY],
        says: "connections to the destination, where neither `dest.kafka.` nor `producer.override.` says anything",
    },
    Scope {
        file: FileKind::Connector,
        prefix: "src.consumer.",
        side: Side::Source,
        groups: &[&CONSUMER, &CLIENT, &SECURITY],
        says: "reading from the source; wins over `src.kafka.`",
    },
    Scope {
        file: FileKind::Connector,
        prefix: "src.kafka.",
        side: Side::Source,
        groups: &[&CLIENT, &SECURITY, &offsets::TIMESTAMPS],
        says: "all connections to the source",
    },
    Scope {
        file: FileKind::Connector,
        prefix: "dest.kafka.",
        side: Side::Destination,
        groups: &[&CLIENT, &SECURITY],
        says: "all connections to the destination; wins over everything else that names it",
    },
    Scope {
        file: FileKind::Connector,
        prefix: "",
        side: Side::Own,
        groups: &[
            &connector::CONNECTOR,
            &topics::SELECTION,
            &topics::TOPICS,
            &offsets::OFFSETS,
            &schemas::SCHEMAS,
            &own::OWN,
            &retired::RETIRED,
            &retired::MISNOMERS,
        ],
        says: "the connector itself",
    },
    Scope {
        file: FileKind::Worker,
        prefix: "producer.",
        side: Side::Destination,
        groups: &[&PRODUCER, &CLIENT, &SECURITY],
        says: "connections to the destination, where the connector says nothing",
    },
    Scope {
        file: FileKind::Worker,
        prefix: "consumer.",
        side: Side::Nobody(Why::Sink),
        groups: &[&CONSUMER, &CLIENT, &SECURITY],
        says: "consumers of sink connectors: accepted without effect",
    },
    Scope {
        file: FileKind::Worker,
        prefix: "admin.",
        side: Side::Destination,
        groups: &[&CLIENT, &SECURITY],
        says: "connections to the destination, where neither the connector nor `producer.` says anything",
    },
    Scope {
        file: FileKind::Worker,
        prefix: "",
        side: Side::Own,
        groups: &[
            &worker::WORKER,
            &worker::REST,
            &worker::DISTRIBUTED,
            &CLIENT,
            &SECURITY,
            &retired::LICENCE,
        ],
        says: "the worker itself; client properties are for connections to the destination, where nothing above says anything",
    },
];

/// A property as one file writes it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Where the key stands.
    pub scope: &'static Scope,
    /// What it is.
    pub property: &'static Property,
}

impl Found {
    /// What becomes of it in this scope.
    pub fn status(&self) -> Status {
        match self.scope.side {
            Side::Nobody(why) => Status::NoMeaning(why),
            _ => self.property.status,
        }
    }

    /// Whether it sets up encryption or authentication of a connection that is made.
    pub fn is_security(&self) -> bool {
        !matches!(self.status(), Status::NoMeaning(_))
            && SECURITY.properties.iter().any(|property| std::ptr::eq(property, self.property))
    }
}

/// What `key` is in a file of this kind. Exact names win over `*`, longer prefixes over shorter.
pub fn lookup(file: FileKind, key: &str) -> Option<Found> {
    let scopes = || SCOPES.iter().filter(move |scope| scope.file == file);
    let candidates = || {
        scopes().filter_map(move |scope| Some((scope, key.strip_prefix(scope.prefix)?))).flat_map(
            |(scope, name)| {
                let properties = scope.groups.iter().flat_map(|group| group.properties);
                properties.map(move |property| (Found { scope, property }, name))
            },
        )
    };
    let exact = candidates().find(|(found, name)| found.property.name == *name);
    let wild = || {
        candidates().find(|(found, name)| {
            found
                .property
                .name
                .strip_suffix('*')
                .is_some_and(|start| name.starts_with(start) && *name != start)
        })
    };
    exact.or_else(wild).map(|(found, _)| found)
}

/// The full names that a file of this kind may hold, without those that end in `*`.
pub fn names(file: FileKind) -> impl Iterator<Item = String> {
    SCOPES.iter().filter(move |scope| scope.file == file).flat_map(|scope| {
        let properties = scope.groups.iter().flat_map(|group| group.properties);
        let meant = properties.filter(|property| !matches!(property.status, Status::Misnomer(_)));
        let exact = meant.filter(|property| !property.name.ends_with('*'));
        exact.map(move |property| format!("{}{}", scope.prefix, property.name))
    })
}

const fn used(name: &'static str, kind: Kind, default: &'static str, says: &'static str) -> Property {
    Property { name, kind, default: some(default), status: Status::Used, says }
}

const fn void(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    why: Why,
    says: &'static str,
) -> Property {
    Property { name, kind, default: some(default), status: Status::NoMeaning(why), says }
}

/// Not built yet; ignoring it leaves what is copied as it is.
const fn later(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    feature: Feature,
    says: &'static str,
) -> Property {
    let status = Status::NotBuilt { feature, off: &[], refuse: false };
    Property { name, kind, default: some(default), status, says }
}

/// Not built yet; any value but those in `off` is refused.
const fn refused(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    feature: Feature,
    off: &'static [&'static str],
    says: &'static str,
) -> Property {
    let status = Status::NotBuilt { feature, off, refuse: true };
    Property { name, kind, default: some(default), status, says }
}

const fn some(default: &'static str) -> Option<&'static str> {
    if default.is_empty() { None } else { Some(default) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> impl Iterator<Item = (&'static Scope, &'static Property)> {
        SCOPES.iter().flat_map(|scope| {
            scope.groups.iter().flat_map(|group| group.properties).map(move |property| (scope, property))
        })
    }

    #[test]
    fn every_name_is_written_once_in_its_group() {
        for scope in SCOPES {
            for group in scope.groups {
                let names: BTreeSet<_> = group.properties.iter().map(|property| property.name).collect();
                assert_eq!(names.len(), group.properties.len(), "{}", group.title);
            }
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_type() {
        for (_, property) in all() {
            if let Some(default) = property.default {
                assert!(property.kind.read(default).is_ok(), "{}: {default}", property.name);
            }
        }
    }

    #[test]
    fn every_property_says_what_it_is_without_a_stop() {
        for (_, property) in all() {
            assert!(!property.says.is_empty() && !property.says.ends_with('.'), "{}", property.name);
        }
    }

    #[test]
    fn longer_prefixes_stand_before_shorter_ones() {
        for (index, scope) in SCOPES.iter().enumerate() {
            for later in SCOPES[index + 1..].iter().filter(|later| later.file == scope.file) {
                let hides = later.prefix != scope.prefix && later.prefix.starts_with(scope.prefix);
                assert!(!hides, "{} hides {}", scope.prefix, later.prefix);
            }
        }
    }

    #[test]
    fn a_misnomer_names_properties_that_exist() {
        for (scope, property) in all() {
            if let Status::Misnomer(meant) = property.status {
                assert!(lookup(scope.file, meant).is_some(), "{}: {meant}", property.name);
            }
        }
    }

    #[test]
    fn a_key_is_looked_up_behind_its_prefix() {
        let check = |file, key: &str, expected: Option<(&str, &str)>| {
            let found = lookup(file, key).map(|found| (found.scope.prefix, found.property.name));
            assert_eq!(found, expected, "{key}");
        };
        check(FileKind::Connector, "src.kafka.client.id", Some(("src.kafka.", "client.id")));
        check(FileKind::Connector, "src.consumer.client.rack", Some(("src.consumer.", "client.rack")));
        check(FileKind::Connector, "src.kafka.client.rack", None);
        check(FileKind::Connector, "src.key.converter", Some(("", "src.key.converter")));
        check(FileKind::Connector, "key.converter.schemas.enable", Some(("", "key.converter.*")));
        check(FileKind::Connector, "transforms.a.type", Some(("", "transforms.*")));
        check(FileKind::Connector, "confluent.topic.ssl.key.password", Some(("", "confluent.topic.*")));
        check(FileKind::Connector, "client.id", None);
        check(FileKind::Worker, "client.id", Some(("", "client.id")));
        check(FileKind::Worker, "producer.linger.ms", Some(("producer.", "linger.ms")));
        check(FileKind::Worker, "topic.whitelist", None);
        check(FileKind::Worker, "bootstrap.servers", Some(("", "bootstrap.servers")));
    }
}
