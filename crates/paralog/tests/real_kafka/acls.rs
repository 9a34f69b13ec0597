//! ACLs follow the topics from one real authorizer to another: with KRaft and with ZooKeeper.

use crate::{
    desk::Desk,
    pair::{Pair, Side},
};
use real_kafka::{Config, Fill};
use std::collections::BTreeSet;

/// Resource type, pattern type, name, principal, host, operation, permission.
type Words = [&'static str; 7];

const READER: Words = ["TOPIC", "LITERAL", "orders", "User:ann", "*", "READ", "ALLOW"];
const GROUP: Words = ["GROUP", "LITERAL", "billing", "User:ann", "*", "READ", "ALLOW"];
const TEAM: Words = ["TOPIC", "PREFIXED", "ord", "User:team", "10.0.0.1", "DESCRIBE", "ALLOW"];
const ADMIN: Words = ["TOPIC", "LITERAL", "*", "User:adm", "*", "ALL", "ALLOW"];
const DENIED: Words = ["TOPIC", "LITERAL", "orders", "User:bob", "*", "READ", "DENY"];
const GROUPS: Words = ["GROUP", "PREFIXED", "team.", "User:team", "*", "ALL", "ALLOW"];
/// None of these is to be seen at the destination.
const WRITER: Words = ["TOPIC", "LITERAL", "orders", "User:producer", "*", "WRITE", "ALLOW"];
const LOCK: Words = ["TOPIC", "LITERAL", "orders", "User:*", "*", "WRITE", "DENY"];
const OTHER: Words = ["TOPIC", "LITERAL", "secrets", "User:ann", "*", "READ", "ALLOW"];
const TRANSACTION: Words = ["TRANSACTIONAL_ID", "LITERAL", "t", "User:producer", "*", "WRITE", "ALLOW"];
/// The destination's own.
const LOCAL: Words = ["TOPIC", "LITERAL", "local", "User:eve", "*", "WRITE", "ALLOW"];

/// An ACL as a copy of it is.
fn renamed(acl: Words, pattern: &'static str, name: &'static str, operation: &'static str) -> String {
    [acl[0], pattern, name, acl[3], acl[4], operation, acl[6]].join(" ")
}

fn create(side: &Side, acls: &[Words]) {
    side.with(|session| {
        for acl in acls {
            session.create_acl(&side.bootstrap, *acl).unwrap();
        }
    });
}

fn delete(side: &Side, acls: &[Words]) {
    side.with(|session| {
        for acl in acls {
            session.delete_acl(&side.bootstrap, *acl).unwrap();
        }
    });
}

fn acls(side: &Side) -> BTreeSet<String> {
    side.with(|session| session.acls(&side.bootstrap).unwrap())
}

fn rights_follow_the_topics_and_go_with_their_originals(version: &str) {
    let authorizer = match version {
        "2.8.2" => "kafka.security.authorizer.AclAuthorizer",
        _ => "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    };
    let config =
        Config::brokers(1).with("authorizer.class.name", authorizer).with("super.users", "User:ANONYMOUS");
    let pair = Pair::start((version, &config), (version, &config));
    let (source, destination) = (&pair.source, &pair.destination);
    let desk = Desk::new(&format!("acls-{version}"), &source.bootstrap, &destination.bootstrap);
    source.with(|session| {
        session.create_topic(&source.bootstrap, "orders", 2, 1, &[]).unwrap();
        session.fill(&source.bootstrap, "orders", &Fill::varied(20, 2)).unwrap();
    });
    create(source, &[READER, GROUP, TEAM, ADMIN, DENIED, GROUPS, WRITER, LOCK, OTHER, TRANSACTION]);
    create(destination, &[LOCAL]);
    let connector = desk.connector(
        "acls",
        "orders",
        "topic.rename.format=copy.${topic}\nsync.topic.acls.enabled=true\nsync.topic.acls.interval.seconds=1",
    );

    let (code, plan) = desk.plan(&connector);
    let planned = &plan["connectors"][0]["acls"];
    assert_eq!((code, planned["grants"].as_array().unwrap().len()), (Some(4), 7), "{plan}");
    let reasons: BTreeSet<&str> =
        planned["not_copied"].as_array().unwrap().iter().map(|not| not["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["changes_copies", "shuts_out"].into(), "{plan}");
    assert_eq!(acls(destination), [LOCAL.join(" ")].into(), "a plan changes nothing");

    let output = desk.catch_up(&connector);
    assert!(output.contains("ACLs copied"), "{output}");
    let copies = BTreeSet::from([
        LOCAL.join(" "),
        GROUP.join(" "),
        GROUPS.join(" "),
        renamed(READER, "LITERAL", "copy.orders", "READ"),
        renamed(DENIED, "LITERAL", "copy.orders", "READ"),
        renamed(TEAM, "PREFIXED", "copy.ord", "DESCRIBE"),
        renamed(ADMIN, "PREFIXED", "copy.", "READ"),
        renamed(ADMIN, "PREFIXED", "copy.", "DESCRIBE_CONFIGS"),
    ]);
    assert_eq!(acls(destination), copies);
    let (code, plan) = desk.plan(&connector);
    assert_eq!((code, &plan["pending"]), (Some(0), &false.into()), "{plan}");

    // Removed while nothing runs; LOCAL was never ours.
    delete(source, &[READER, GROUP, ADMIN]);
    desk.catch_up(&connector);
    let left = BTreeSet::from([
        LOCAL.join(" "),
        GROUPS.join(" "),
        renamed(DENIED, "LITERAL", "copy.orders", "READ"),
        renamed(TEAM, "PREFIXED", "copy.ord", "DESCRIBE"),
    ]);
    assert_eq!(acls(destination), left);
    let (code, plan) = desk.plan(&connector);
    assert_eq!(code, Some(0), "{plan}");
}

from_each_source!(rights_follow_the_topics_and_go_with_their_originals);
