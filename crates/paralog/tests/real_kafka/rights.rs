//! What a user must be allowed to do is what is listed: with exactly that a copy works, and without any single right of it
//! what is missing is named, and nothing else stops.

use crate::{
    desk::Desk,
    pair::{Hold, Pair, Side, assert_same},
};
use real_kafka::{Config, Distribution, Fill, Listener, Stores};
use serde_json::Value;
use std::path::PathBuf;

/// Whom both clusters know by the password, and who may nothing there.
const USER: &str = "ann";
const LOGIN: &str =
    "org.apache.kafka.common.security.plain.PlainLoginModule required username='ann' password='ann-secret';";

struct Bench {
    desk: Desk,
    pair: Hold,
}

/// A right as the plan lists it.
#[derive(Debug)]
struct Right {
    at_source: bool,
    operation: String,
    resource: Resource,
    is_optional: bool,
}

#[derive(Debug)]
enum Resource {
    /// Of each copied topic, at the source or there.
    Topic,
    Group(String),
    Cluster,
}

impl Right {
    fn read(right: &Value) -> Right {
        let resource = match right["resource"]["type"].as_str().unwrap() {
            "topic" => Resource::Topic,
            "group" => Resource::Group(right["resource"]["name"].as_str().unwrap().to_owned()),
            "cluster" => Resource::Cluster,
            other => panic!("{other}"),
        };
        Right {
            at_source: right["side"] == "source",
            operation: right["operation"].as_str().unwrap().to_owned(),
            resource,
            is_optional: right["optional"].as_bool().unwrap(),
        }
    }

    fn side<'a>(&self, pair: &'a Pair) -> &'a Side {
        if self.at_source { &pair.source } else { &pair.destination }
    }

    /// A topic that has every right but this one is called so.
    fn topic(&self) -> String {
        let side = if self.at_source { "source" } else { "destination" };
        format!("lacks-{side}-{}", self.operation.to_lowercase().replace('_', "-"))
    }

    /// Gives it, where it is about topics on this one.
    fn allow(&self, pair: &Pair, topic: &str) {
        let side = self.side(pair);
        let resource = match &self.resource {
            Resource::Topic => ("TOPIC", topic),
            Resource::Group(name) => ("GROUP", name.as_str()),
            Resource::Cluster => ("CLUSTER", "kafka-cluster"),
        };
        side.with(|session| session.allow(&side.bootstrap, USER, &self.operation, resource).unwrap());
    }
}

impl Bench {
    fn new() -> Bench {
        let stores = Stores::make(&Distribution::resolve("4.3.1").unwrap()).unwrap();
        // Who comes without a login is the tests' own helper, and the brokers themselves.
        let config = Config::brokers(1)
            .secured(&stores)
            .with("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
            .with("super.users", "User:ANONYMOUS");
        let pair = Pair::start(("4.3.1", &config), ("4.3.1", &config));
        let desk = Desk::new("rights", &pair.source.bootstrap, &pair.destination.bootstrap);
        Bench { desk, pair }
    }

    /// A connector for these topics, by whoever may everything or by [`USER`].
    fn connector(&self, topics: &str, is_user: bool) -> PathBuf {
        let mut text = format!(
            "name=rights\nconnector.class=ReplicatorSourceConnector\ntopic.whitelist={topics}\n\
             key.converter=ByteArrayConverter\nvalue.converter=ByteArrayConverter\n"
        );
        for (side, prefix) in [(&self.pair.source, "src"), (&self.pair.destination, "dest")] {
            if is_user {
                let address = side.cluster().bootstrap_of(Listener::Login);
                text += &format!(
                    "{prefix}.kafka.bootstrap.servers={address}\n{prefix}.kafka.security.protocol=SASL_PLAINTEXT\n\
                     {prefix}.kafka.sasl.mechanism=PLAIN\n{prefix}.kafka.sasl.jaas.config={LOGIN}\n"
                );
            } else {
                text += &format!("{prefix}.kafka.bootstrap.servers={}\n", side.bootstrap);
            }
        }
        self.desk.write("rights.properties", &text)
    }

    fn rights(&self) -> Vec<Right> {
        let (_, plan) = self.desk.plan(&self.connector("has-all", false));
        plan["connectors"][0]["rights"].as_array().unwrap().iter().map(Right::read).collect()
    }
}

#[test]
#[cfg_attr(not(feature = "real-kafka"), ignore = "needs real Kafka: cargo xtask test")]
fn the_rights_that_are_listed_are_enough_and_each_that_is_missing_is_named() {
    let bench = Bench::new();
    let (source, destination) = (&bench.pair.source, &bench.pair.destination);
    let fill = |topic: &str| {
        source.with(|session| {
            session.create_topic(&source.bootstrap, topic, 2, 1, &[]).unwrap();
            session.fill(&source.bootstrap, topic, &Fill::varied(20, 2)).unwrap();
        });
    };
    fill("has-all");
    let rights: Vec<Right> = bench.rights().into_iter().filter(|right| !right.is_optional).collect();
    let on_topics = || rights.iter().filter(|right| matches!(right.resource, Resource::Topic));
    assert!(on_topics().count() >= 5, "{rights:?}");

    // Nothing is allowed: who, where and what to do is told.
    let nobody = bench.connector("has-all", true);
    let outcome = bench.desk.run_until_caught_up(&[&nobody]);
    println!("without any right: {}", outcome.output);
    assert_eq!(outcome.code, Some(4), "{}", outcome.output);

    // All but one, each on a topic of its own, and all on one.
    let topics: Vec<String> = on_topics().map(Right::topic).chain(["has-all".to_owned()]).collect();
    topics.iter().filter(|topic| *topic != "has-all").for_each(|topic| fill(topic));
    for right in &rights {
        match right.resource {
            Resource::Topic => {
                let having = topics.iter().filter(|topic| **topic != right.topic());
                having.for_each(|topic| right.allow(&bench.pair, topic));
            }
            Resource::Group(_) | Resource::Cluster => right.allow(&bench.pair, ""),
        }
    }
    // This one has to grow.
    destination.with(|session| {
        session.create_topic(&destination.bootstrap, "lacks-destination-alter", 1, 1, &[]).unwrap();
    });
    let some = bench.connector(&topics.join(","), true);
    let outcome = bench.desk.run_until_caught_up(&[&some]);
    println!("with all but one: {}", outcome.output);
    assert_eq!(outcome.code, Some(4), "{}", outcome.output);
    let expected = source.with(|session| session.digest(&source.bootstrap, "has-all", false).unwrap());
    let copy = destination.with(|session| session.digest(&destination.bootstrap, "has-all", false).unwrap());
    assert_same(&expected, &copy);
    // Where a copy stands is read after an interruption only.
    let is_needed_at_once = |right: &&Right| right.at_source || right.operation != "READ";
    for right in on_topics().filter(is_needed_at_once) {
        let (topic, operation) = (right.topic(), &right.operation);
        let cluster = if right.at_source { "source" } else { "destination" };
        let who = format!("the {cluster}'s user `{USER}`");
        let told = outcome
            .output
            .lines()
            .any(|line| line.contains(&topic) && line.contains(operation.as_str()) && line.contains(&who));
        assert!(told, "{topic}: {operation} at the {cluster} is not named: {}", outcome.output);
    }

    // With all of them, and none beside.
    on_topics().for_each(|right| right.allow(&bench.pair, &right.topic()));
    let outcome = bench.desk.run_until_caught_up(&[&some]);
    println!("with all: {}", outcome.output);
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
}
