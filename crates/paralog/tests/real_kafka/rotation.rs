//! Certificates and passwords are replaced by others, at the brokers and at the program, while it copies: nothing is
//! lost by that, nothing comes twice, and the program is not started again.

use crate::{
    desk::{PATIENCE, stop_cleanly},
    pair::{Side, assert_same, count},
    secured::{Bench, LOGIN, PASSWORD, USER},
};
use real_kafka::{Deadline, Fill, Listener};
use std::{fs, time::Duration};

/// What is written at once.
const FEW: u64 = 50;
const TOPIC: &str = "t";
const COPY: &str = "rotated-t";

/// A copy that goes on, and what was written for it.
struct Load<'a> {
    bench: &'a Bench,
    filled: u64,
}

impl Load<'_> {
    fn write_for(&mut self, time: Duration) {
        let source = &self.bench.pair.source;
        let deadline = Deadline::within(time);
        while !deadline.left().is_zero() {
            let fill = Fill::varied(FEW, 2).first(self.filled);
            source.with(|session| session.fill(&source.bootstrap, TOPIC, &fill).unwrap());
            self.filled += FEW;
        }
    }

    fn all_arrives(&self) {
        let destination = &self.bench.pair.destination;
        destination.with(|session| {
            session.wait_for_records(&destination.bootstrap, COPY, self.filled, PATIENCE).unwrap();
        });
    }
}

/// Starts the broker again with these stores.
fn broker_with(bench: &Bench, side: &Side, trusted: &str, shown: &str) {
    let store = |name: &str| bench.stores.file(name).display().to_string();
    let (trusted, shown) = (store(trusted), store(shown));
    let changes = [("ssl.truststore.location", trusted.as_str()), ("ssl.keystore.location", shown.as_str())];
    let mut cluster = side.cluster();
    cluster.stop(0).unwrap();
    cluster.change_settings(0, &changes).unwrap();
    cluster.start_again(0).unwrap();
}

fn password_at(side: &Side, password: &str) {
    side.with(|session| session.add_scram_user(&side.bootstrap, USER, password).unwrap());
}

/// An authority is replaced in the steps of RFC 4210, section 4.4: both are trusted, then the certificates change, then
/// the former one is trusted no more. Then a password, at the brokers first and at the program first.
fn everything_that_proves_who_one_is_can_be_replaced(version: &str) {
    let bench = Bench::new("rotated", version);
    let (source, destination) = (&bench.pair.source, &bench.pair.destination);
    let (trusted, shown) = (bench.own("trusted", "trust.p12"), bench.own("shown", "client.p12"));
    let worker = bench.desk.worker();
    let text = fs::read_to_string(&worker).unwrap();
    let first = bench.stores.file("trust.p12").display().to_string();
    assert!(text.contains(&first), "{text}");
    fs::write(&worker, text.replace(&first, &trusted)).unwrap();
    let file = bench.connector(
        "rotated",
        &bench.mutual("trust.p12", "client.p12").with_stores(&trusted, &shown),
        &bench.scram("SCRAM-SHA-512", Listener::TlsLogin, "trust.p12").with_stores(&trusted, ""),
    );
    source.with(|session| session.create_topic(&source.bootstrap, TOPIC, 2, 1, &[]).unwrap());
    let process = bench.desk.start(&["run".as_ref(), worker.as_os_str(), file.as_os_str()]);
    let said = || fs::read_to_string(process.log()).unwrap();
    let mut load = Load { bench: &bench, filled: 0 };
    load.write_for(LOGIN);
    load.all_arrives();

    bench.own("trusted", "both.p12");
    for side in [source, destination] {
        broker_with(&bench, side, "both.p12", "next-broker.p12");
        load.write_for(LOGIN);
    }
    load.all_arrives();
    bench.own("shown", "next-client.p12");
    bench.own("trusted", "stranger.p12");
    for side in [source, destination] {
        // What the former authority signed is taken by nobody any more.
        broker_with(&bench, side, "stranger.p12", "next-broker.p12");
        load.write_for(LOGIN);
    }
    load.all_arrives();
    assert!(said().contains("stores of certificates have changed"), "{}", said());

    let second = format!("{PASSWORD}-2");
    password_at(destination, &second);
    // The logins that were made with the former one end, and no other is taken.
    load.write_for(2 * LOGIN);
    let refused = "refuses the login by SCRAM-SHA-512";
    assert!(said().contains(refused), "{}", said());
    bench.write_secrets(&second);
    load.write_for(LOGIN);
    load.all_arrives();
    assert!(said().contains("the secret of the login has changed"), "{}", said());

    let third = format!("{PASSWORD}-3");
    bench.write_secrets(&third);
    password_at(destination, &third);
    load.write_for(2 * LOGIN);
    load.all_arrives();

    stop_cleanly(process);
    let original = source.with(|session| session.digest(&source.bootstrap, TOPIC, false).unwrap());
    assert_eq!(count(&original), load.filled);
    let copied = destination.with(|session| session.digest(&destination.bootstrap, COPY, false).unwrap());
    assert_same(&original, &copied);
}

from_each_source!(everything_that_proves_who_one_is_can_be_replaced);
