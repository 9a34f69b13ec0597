//! The program logs in by AWS_MSK_IAM, with keys of its environment, to brokers that recompute what it has signed.

// What is run is another process.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;

use embedded_kafka::{Cluster, Config, Exchange, Mechanism, Sasl, Step};
use ring::{digest, hmac};

const SECRET: &str = "c4n4ry/secret+key";
const TOKEN: &str = "c4n4ry//token==";

/// A broker's side, written for itself alone: whoever signs for `user` with the secret is let in.
#[derive(Debug)]
struct Amazon;

struct Judge;

impl Mechanism for Amazon {
    fn name(&self) -> &str {
        "AWS_MSK_IAM"
    }

    fn start(&self) -> Box<dyn Exchange> {
        Box::new(Judge)
    }
}

impl Exchange for Judge {
    fn step(&mut self, said: &[u8]) -> Step {
        let said: BTreeMap<String, String> = serde_json::from_slice(said).unwrap();
        if said["x-amz-signature"] != signature(&said) {
            return Step::Failed(format!("Access denied: {} did not sign it", said["x-amz-credential"]));
        }
        assert_eq!((&*said["version"], &*said["action"]), ("2020_10_22", "kafka-cluster:Connect"));
        assert_eq!((&*said["host"], &*said["x-amz-signedheaders"]), ("127.0.0.1", "host"));
        let said = br#"{"version":"2020_10_22","request-id":"5c1b7e1c"}"#.to_vec();
        Step::Done { user: "me".to_owned(), said }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// What belongs to all that was said, by the steps of AWS's documentation.
fn signature(said: &BTreeMap<String, String>) -> String {
    let names = [
        ("action", "Action"),
        ("x-amz-algorithm", "X-Amz-Algorithm"),
        ("x-amz-credential", "X-Amz-Credential"),
        ("x-amz-date", "X-Amz-Date"),
        ("x-amz-expires", "X-Amz-Expires"),
        ("x-amz-security-token", "X-Amz-Security-Token"),
        ("x-amz-signedheaders", "X-Amz-SignedHeaders"),
    ];
    let escaped =
        |text: &str| text.replace('/', "%2F").replace(':', "%3A").replace('=', "%3D").replace('+', "%2B");
    let query: Vec<String> = names
        .iter()
        .filter_map(|(said_as, name)| Some(format!("{name}={}", escaped(said.get(*said_as)?))))
        .collect();
    let canonical = format!("GET\n/\n{}\nhost:{}\n\nhost\n{}", query.join("&"), said["host"], sha256(""));
    let (_, scope) = said["x-amz-credential"].split_once('/').unwrap();
    let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", said["x-amz-date"], sha256(&canonical));
    let mut key = format!("AWS4{SECRET}").into_bytes();
    for part in scope.split('/') {
        key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes()).as_ref().to_vec();
    }
    hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), to_sign.as_bytes()).as_ref())
}

/// A cluster of such brokers, on a thread of its own, until the sender is dropped.
fn amazon() -> (Cluster, tokio::sync::oneshot::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sasl = Some(Sasl { mechanisms: vec![Arc::new(Amazon)], session_lifetime: None });
    let cluster = runtime.block_on(Cluster::start(Config { sasl, ..Config::default() })).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    thread::spawn(move || runtime.block_on(stopped));
    (cluster, stop)
}

/// A run with nothing in its environment but these: its exit code, and all that it says.
fn run(folder: &Path, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_paralog"))
        .args(["run", "-vvv", "--until-caught-up", "w.properties", "c.properties"])
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PARALOG_LOG", "trace")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(!said.contains("c4n4ry"), "{said}");
    (status.code(), said)
}

#[test]
fn brokers_that_check_the_signature_let_in_whoever_has_the_keys() {
    let (source, _stop) = amazon();
    let (destination, _stop_too) = amazon();
    source.create_topic("t", 1, &[]);
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (source.bootstrap_servers(), destination.bootstrap_servers());
    let mut connector = format!(
        "name=x\nconnector.class=ReplicatorSourceConnector\nkey.converter=ByteArrayConverter\n\
         value.converter=ByteArrayConverter\nsrc.kafka.bootstrap.servers={from}\ndest.kafka.bootstrap.servers={to}\n\
         topic.whitelist=t\ntopic.rename.format=${{topic}}.copy\n"
    );
    for prefix in ["src.kafka.", "dest.kafka."] {
        connector += &format!(
            "{prefix}security.protocol=SASL_PLAINTEXT\n{prefix}sasl.mechanism=AWS_MSK_IAM\n\
             {prefix}sasl.jaas.config=software.amazon.msk.auth.iam.IAMLoginModule required awsDebugCreds=true;\n\
             {prefix}sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler\n"
        );
    }
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("w.properties", &format!("bootstrap.servers={to}\noffset.storage.file.filename=offsets\n"));
    write("c.properties", &connector);

    let keys =
        [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_REGION", "eu-west-1")];
    let (code, said) = run(folder.path(), &keys);
    assert_eq!(code, Some(0), "{said}");
    assert!(destination.topics().iter().any(|name| name.as_str() == "t.copy"), "{said}");
    assert!(said.contains("keys of AWS for logins") && said.contains("environment"), "{said}");

    let (code, said) = run(folder.path(), &[&keys[..], &[("AWS_SESSION_TOKEN", TOKEN)]].concat());
    assert_eq!(code, Some(0), "{said}");

    let wrong = [
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "c4n4ry-wrong"),
        ("AWS_REGION", "eu-west-1"),
    ];
    let (code, said) = run(folder.path(), &wrong);
    assert_eq!(code, Some(3), "{said}");
    let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or(&said);
    assert!(error.contains("refuses the login by AWS_MSK_IAM: Access denied: AKID/"), "{error}");
    assert!(
        error.contains("; check whose keys are used (`awsDebugCreds=true` tells), whether they may"),
        "{error}"
    );

    let (code, said) = run(folder.path(), &[("AWS_REGION", "eu-west-1"), ("HOME", "/no/such")]);
    assert_eq!(code, Some(3), "{said}");
    let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or(&said);
    let expected = "AWS_MSK_IAM: no keys of AWS, tried in order: environment: AWS_ACCESS_KEY_ID is not set; web identity: ";
    assert!(
        error.contains(expected) && error.ends_with("instance: AWS_EC2_METADATA_DISABLED is set"),
        "{error}"
    );
    let (code, said) = run(folder.path(), &keys[..2]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("AWS_MSK_IAM: the region of 127.0.0.1 is not known: "), "{said}");
}
