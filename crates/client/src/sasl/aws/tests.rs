use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::surroundings::testing::Given;
use super::*;
use crate::Secret;
use crate::http::testing::{Reply, Server};

const NOW_MS: u64 = 1_790_000_000_000;
const HOST: &str = "b-1.demo.kafka.us-west-2.amazonaws.com";

/// Made by aws-msk-iam-auth 2.3.5 itself, `AWS4SignedPayloadGenerator.signedPayload` for hosts of several regions, with
/// keys that last (`AKIDEXAMPLE`) and with temporary ones, at the time that each says.
const GOLDEN: &str = include_str!("golden.jsonl");
const GOLDEN_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn what_is_said_is_what_awss_own_library_says() {
    assert_eq!(GOLDEN.lines().count(), 8);
    for line in GOLDEN.lines() {
        let mut golden = json(line.as_bytes());
        let text = |name: &str| golden[name].as_str().unwrap().to_owned();
        let credential = text("x-amz-credential");
        let parts: Vec<&str> = credential.split('/').collect();
        let keys = Keys {
            access_key_id: parts[0].to_owned(),
            secret_access_key: Secret::new(GOLDEN_SECRET),
            session_token: golden
                .get("x-amz-security-token")
                .map(|token| Secret::new(token.as_str().unwrap())),
            expires_ms: None,
        };
        let date = text("x-amz-date");
        let date = format!(
            "{}-{}-{}T{}:{}:{}",
            &date[..4],
            &date[4..6],
            &date[6..8],
            &date[9..11],
            &date[11..13],
            &date[13..]
        );
        let host = text("host");
        let region = region::of_host(&host).unwrap();
        assert_eq!(region, parts[2]);
        let said = json(&payload(&keys, &host, &region, sigv4::time_ms(&date).unwrap()));
        golden["user-agent"] = USER_AGENT.into();
        // Objects are equal whatever their order.
        assert_eq!(said, golden);
    }
}

#[test]
fn a_broker_that_believes_us_says_so() {
    assert!(matches!(step(br#"{"version":"2020_10_22","request-id":"a-b"}"#), Ok(Step::Done)));
    for said in
        ["", "{}", "[]", r#"{"version":"2020_10_22"}"#, r#"{"version":"2021","request-id":"a"}"#, "\u{1}"]
    {
        assert!(matches!(step(said.as_bytes()), Err(Fault::Untrusted(_))), "{said}");
    }
}

fn iam(given: Given) -> Iam {
    Iam::within(AwsIam { backoff_max: Duration::ZERO, ..AwsIam::default() }, Box::new(given))
}

fn said(iam: &Iam, now_ms: u64) -> Result<Value, String> {
    iam.begin(HOST, &|| now_ms, 0.0, false).map(|said| json(&said))
}

#[test]
fn temporary_keys_are_kept_and_renewed_before_they_end() {
    let count = AtomicU64::new(0);
    let server = Server::plain(move |_| {
        let asked = count.fetch_add(1, Ordering::SeqCst);
        let end = ["2026-09-21T15:00:00Z", "2026-09-21T16:00:00Z"][usize::try_from(asked).unwrap().min(1)];
        Reply::Says(
            200,
            format!(
                r#"{{"AccessKeyId":"A{asked}","SecretAccessKey":"hush","Token":"t","Expiration":"{end}"}}"#
            ),
        )
    });
    let url = server.url("/keys");
    let iam = iam(Given::vars([("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url)]));
    let end_ms = sigv4::time_ms("2026-09-21T15:00:00Z").unwrap();
    let id = |now_ms| {
        let said = said(&iam, now_ms).unwrap();
        said["x-amz-credential"].as_str().unwrap().split('/').next().unwrap().to_owned()
    };
    assert_eq!((id(end_ms - 3_600_000), id(end_ms - 300_001)), ("A0".into(), "A0".into()));
    assert_eq!((id(end_ms - 300_000), server.heard().len()), ("A1".into(), 2));
}

#[test]
fn lasting_keys_are_looked_for_each_time() {
    let given = Given::vars([("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hush")]);
    let said = said(&iam(given), NOW_MS).unwrap();
    assert!(said["x-amz-credential"].as_str().unwrap().starts_with("AKID/20260921/us-west-2/kafka-cluster/"));
    assert_eq!(said.get("x-amz-security-token"), None);
    let lasting = Keys::lasting(["a", "b", ""].map(|part| Some(part.to_owned())), ["", ""]).unwrap();
    assert_eq!(held(lasting, NOW_MS).refresh_at_ms, NOW_MS);
}

#[test]
fn the_region_is_that_of_the_host_or_of_the_surroundings() {
    let vars = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hush")];
    let region = |given: Given| {
        let said = iam(given).begin("kafka.example", &|| NOW_MS, 0.0, false)?;
        Ok(json(&said)["x-amz-credential"].as_str().unwrap().split('/').nth(2).unwrap().to_owned())
    };
    let with = |name, value: &str| {
        let mut given = Given::vars(vars);
        given.vars.insert(name, value.to_owned());
        given
    };
    assert_eq!(region(with("AWS_REGION", "eu-west-1")), Ok("eu-west-1".to_owned()));
    assert_eq!(region(with("AWS_DEFAULT_REGION", "eu-west-2")), Ok("eu-west-2".to_owned()));
    let profile = with("HOME", "/home/me").file("/home/me/.aws/config", "[default]\nregion = eu-west-3\n");
    assert_eq!(region(profile), Ok("eu-west-3".to_owned()));
    let error: String = region(Given::vars(vars)).unwrap_err();
    assert!(error.starts_with("the region of kafka.example is not known: "), "{error}");
}

#[test]
fn services_that_err_are_asked_again_and_then_left_alone() {
    let count = AtomicU64::new(0);
    let server = Server::plain(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Reply::Says(500, String::new()),
        _ => Reply::Says(200, r#"{"AccessKeyId":"A","SecretAccessKey":"hush"}"#.to_owned()),
    });
    let url = server.url("/");
    let given = || {
        Given::vars([("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url), ("AWS_EC2_METADATA_DISABLED", "true")])
    };
    assert!(said(&iam(given()), NOW_MS).is_ok());
    assert_eq!(server.heard().len(), 3);
    let broken = Server::plain(|_| Reply::Says(500, String::new()));
    let url = broken.url("/");
    let given =
        Given::vars([("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url), ("AWS_EC2_METADATA_DISABLED", "true")]);
    let iam = iam(given);
    let error = said(&iam, NOW_MS).unwrap_err();
    assert_eq!(said(&iam, NOW_MS + 999), Err(error));
    assert_eq!(broken.heard().len(), 4, "three more times, and not in a hot loop");
}

#[test]
fn pauses_double_up_to_a_bound_and_leave_a_part_to_chance() {
    let max = Duration::from_millis(5000);
    let ms = |retries, share| pause(retries, max, share).as_millis();
    assert_eq!([ms(0, 1.0), ms(1, 1.0), ms(2, 0.5), ms(9, 1.0), ms(99, 1.0)], [500, 1000, 1000, 5000, 5000]);
    assert_eq!(ms(3, 0.0), 0);
}

proptest! {
    #[test]
    fn whatever_a_broker_says_nothing_panics(said: Vec<u8>, text: String) {
        let _ = (step(&said), step(text.as_bytes()), token_of(&said));
    }

    #[test]
    fn keys_are_replaced_before_they_end(now_ms in 0..u64::MAX / 2, left_ms in 0..u64::MAX / 4) {
        let keys = Keys {
            access_key_id: String::new(),
            secret_access_key: Secret::new(""),
            session_token: None,
            expires_ms: Some(now_ms + left_ms),
        };
        let held = held(keys, now_ms);
        prop_assert!((now_ms..=held.expires_ms).contains(&held.refresh_at_ms));
        prop_assert!(left_ms == 0 || held.refresh_at_ms < held.expires_ms);
    }
}
