//! Secrets stay secret: the program is run with ones that can be recognised in every place that takes one, well and
//! badly, and none of them may show in anything that it says.

// What is run is another process.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use embedded_kafka::{Cluster, Config, Sasl};
use properties::table::{FileKind, SCOPES, lookup};
use properties::value::Kind;

/// Part of every secret, and of nothing else.
const CANARY: &str = "c4n4ry";
/// Nobody listens on port 1 of this machine.
const NOBODY: &str = "127.0.0.1:1";

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const IAM: &str = "software.amazon.msk.auth.iam.IAMLoginModule";
const BEARER: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

/// A folder with the files of one run.
struct Cage {
    folder: tempfile::TempDir,
}

impl Cage {
    fn new(worker: &str, connector: &str) -> Cage {
        let cage = Cage { folder: tempfile::tempdir().unwrap() };
        cage.write("w.properties", worker);
        cage.write("c.properties", connector);
        cage
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    /// Everything it says, on both streams, with everything logged.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        Cage::run_in(self.folder.path(), arguments)
    }

    fn run_in(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_paralog"))
            .args(arguments)
            .current_dir(folder)
            .env("PARALOG_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env("CANARY", format!("{CANARY}-of-the-environment"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(!said.to_lowercase().contains(CANARY), "{arguments:?}: {said}");
        // A secret must not come out in another dress either.
        assert!(!said.contains("YzRuNHJ5"), "{arguments:?}: {said}");
        (status.code(), said)
    }

    /// All that takes these files, at once: each waits for a while for whom it does not reach. The exit code of a run.
    fn run_all(&self) -> (Option<i32>, String) {
        let files = ["w.properties", "c.properties"];
        let others: [&[&str]; 5] = [
            &["check"],
            &["plan", "--rights"],
            &["plan", "-o", "json"],
            &["offsets", "export"],
            &["offsets", "alter", "--topic", "t", "--to-latest"],
        ];
        // It wants the file of progress for itself.
        let apart = self.folder.path().join("apart");
        std::fs::create_dir(&apart).unwrap();
        for file in files {
            std::fs::copy(self.folder.path().join(file), apart.join(file)).unwrap();
        }
        thread::scope(|scope| {
            for other in others {
                scope.spawn(move || self.run(&[other, &files].concat()));
            }
            Cage::run_in(&apart, &[&["run", "-vvv", "--until-caught-up"], &files[..]].concat())
        })
    }
}

/// A worker's and a connector's file with these further lines. Neither names an address twice.
fn files(source: &str, destination: &str, worker: &str, connector: &str) -> Cage {
    let worker = format!("bootstrap.servers={destination}\noffset.storage.file.filename=offsets\n{worker}");
    let connector = format!(
        "name=x\nconnector.class=ReplicatorSourceConnector\nkey.converter=ByteArrayConverter\n\
         value.converter=ByteArrayConverter\nsrc.kafka.bootstrap.servers={source}\n\
         dest.kafka.bootstrap.servers={destination}\ntopic.whitelist=t\ntopic.rename.format=${{topic}}.copy\n{connector}"
    );
    Cage::new(&worker, &connector)
}

/// Every property of a kind of file whose value is secret, with its prefix.
fn secret_names(kind: FileKind) -> impl Iterator<Item = String> {
    SCOPES.iter().filter(move |scope| scope.file == kind).flat_map(|scope| {
        let properties = scope.groups.iter().flat_map(|group| group.properties);
        let secret = properties.filter(|property| property.kind == Kind::Password);
        secret.map(move |property| format!("{}{}", scope.prefix, property.name.replace('*', "x")))
    })
}

#[test]
fn a_secret_in_any_property_that_takes_one_does_not_show() {
    let lines = |kind: FileKind| -> String {
        let mut count = 0;
        let lines: String = secret_names(kind)
            .map(|name| {
                count += 1;
                assert!(lookup(kind, &name).is_some(), "{name}");
                format!("{name}={CANARY}-{count} ${{env:CANARY}}\n{name}.typo={CANARY}\n")
            })
            .collect();
        assert!(count > 10, "{kind}: {count}");
        lines
    };
    let providers = "config.providers=env\nconfig.providers.env.class=EnvVarConfigProvider\n";
    for protocol in ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL", CANARY.to_uppercase().as_str()] {
        let secured = |prefixes: &[&str]| -> String {
            let lines = prefixes.iter().map(|prefix| {
                // A protocol that is none is quoted, for it is no secret.
                let protocol = if protocol.contains("4") { "${env:CANARY}" } else { protocol };
                format!("{prefix}security.protocol={protocol}\n{prefix}sasl.mechanism=PLAIN\n{prefix}ssl.keystore.type=PEM\n{prefix}ssl.truststore.type=PEM\n")
            });
            lines.collect()
        };
        let worker = format!("{providers}{}{}", secured(&[""]), lines(FileKind::Worker));
        let connector = format!("{}{}", secured(&["src.kafka.", "dest.kafka."]), lines(FileKind::Connector));
        let (code, said) = files(NOBODY, NOBODY, &worker, &connector).run_all();
        assert_eq!(code, Some(if protocol == "PLAINTEXT" { 3 } else { 2 }), "{protocol}: {said}");
    }
}

#[test]
fn a_login_that_is_written_badly_does_not_show() {
    let jaas = [
        format!("{PLAIN} required username=\"a\" password=\"{CANARY}\""),
        format!("{PLAIN} required username=\"a\" password={CANARY}#x;"),
        format!("{PLAIN} required username=\"a\" password=\"x\"{CANARY}\";"),
        format!("{PLAIN} required username=\"a\" password=1{CANARY};"),
        format!("{PLAIN} required username=\"a\" \"{CANARY}\"=x;"),
        format!("{PLAIN} {CANARY} username=\"a\";"),
        format!("{CANARY} required username=\"a\";"),
        format!("{PLAIN} required username=\"a\" pasword=\"{CANARY}\";"),
        format!("{PLAIN} required {CANARY};"),
        format!("{PLAIN} required username=a password={CANARY}; {CANARY}"),
        format!(
            "{BEARER} required unsecuredLoginNumberClaim_x=\"{CANARY}\" unsecuredLoginStringClaim_sub=a;"
        ),
        format!(
            "{BEARER} required unsecuredLoginLifetimeSeconds=\"{CANARY}\" unsecuredLoginStringClaim_sub=a;"
        ),
        format!("{BEARER} required unsecuredLoginExtension_a1=\"{CANARY}\" unsecuredLoginStringClaim_sub=a;"),
        format!("{IAM} required awsRoleArn=a awsRoleSecretAccessKey=\"{CANARY}\";"),
        format!("{IAM} required awsMaxRetries=\"{CANARY}\" awsMskRegionProvider=\"{CANARY}\" {CANARY}=x;"),
        CANARY.to_owned(),
    ];
    for jaas in jaas {
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "OAUTHBEARER", "AWS_MSK_IAM", "GSSAPI"] {
            let connector = format!(
                "src.kafka.security.protocol=SASL_PLAINTEXT\nsrc.kafka.sasl.mechanism={mechanism}\nsrc.kafka.sasl.jaas.config={jaas}\n"
            );
            let cage = files(NOBODY, NOBODY, "", &connector);
            let (code, said) = cage.run(&["check", "w.properties", "c.properties"]);
            let is_good = code == Some(0);
            assert!(is_good || said.contains("src.kafka.sasl."), "{jaas}: {said}");
            if !is_good {
                assert_eq!(code, Some(2), "{jaas}: {said}");
            }
        }
    }
}

#[test]
fn stores_that_do_not_open_do_not_show_what_was_to_open_them() {
    let password = format!("{CANARY}-store");
    let cases = [
        "ssl.truststore.location=none.jks\nPREFIXssl.truststore.password=PASSWORD".to_owned(),
        "ssl.truststore.location=c.properties\nPREFIXssl.truststore.password=PASSWORD".to_owned(),
        "ssl.truststore.location=c.properties\nPREFIXssl.truststore.type=PEM".to_owned(),
        "ssl.keystore.location=c.properties\nPREFIXssl.keystore.password=PASSWORD\nPREFIXssl.key.password=PASSWORD".to_owned(),
        "ssl.truststore.type=PEM\nPREFIXssl.truststore.certificates=-----BEGIN CERTIFICATE-----\\nPASSWORD\\n-----END CERTIFICATE-----".to_owned(),
        "ssl.keystore.type=PEM\nPREFIXssl.keystore.key=-----BEGIN PRIVATE KEY-----\\nPASSWORD\\n-----END PRIVATE KEY-----\nPREFIXssl.keystore.certificate.chain=PASSWORD".to_owned(),
        "ssl.keystore.type=PEM\nPREFIXssl.keystore.key=PASSWORD\nPREFIXssl.keystore.certificate.chain=PASSWORD\nPREFIXssl.key.password=PASSWORD".to_owned(),
    ];
    for case in cases {
        for prefix in ["src.kafka.", "dest.kafka."] {
            let lines = format!("{prefix}security.protocol=SSL\n{prefix}{case}\n");
            let lines = lines.replace("PREFIX", prefix).replace("PASSWORD", &password);
            let (code, said) = files(NOBODY, NOBODY, "", &lines).run_all();
            assert_eq!(code, Some(2), "{case}: {said}");
        }
    }
}

#[test]
fn a_key_that_is_pasted_over_several_lines_does_not_show() {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{CANARY}AA==\n{CANARY}\n-----END PRIVATE KEY-----\n");
    for prefix in ["src.kafka.", "dest.kafka."] {
        let lines = format!("{prefix}security.protocol=SSL\n{prefix}ssl.keystore.key={key}{key}");
        let (code, said) = files(NOBODY, NOBODY, "", &lines).run_all();
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("ssl.keystore.key` ends with its line"), "{said}");
    }
}

#[test]
fn what_comes_from_a_provider_shows_as_its_reference() {
    let worker = "config.providers=file,dir,env\nconfig.providers.file.class=FileConfigProvider\n\
        config.providers.dir.class=DirectoryConfigProvider\nconfig.providers.env.class=EnvVarConfigProvider\n";
    let properties = [
        "tasks.max",
        "topic.timestamp.type",
        "offset.start",
        "src.kafka.bootstrap.servers",
        "src.kafka.request.timeout.ms",
        "src.consumer.isolation.level",
        "transforms",
        "connector.class",
        "key.converter",
        "src.kafka.security.protocol",
        "src.kafka.sasl.mechanism",
        "topic.config.sync.include",
        "no.such.property",
    ];
    for property in properties {
        for reference in ["${file:s.properties:key}", "${dir:secrets:key}", "${env:CANARY}"] {
            let cage = files(NOBODY, NOBODY, worker, &format!("{property}={reference}\n"));
            cage.write("s.properties", &format!("key={CANARY}-of-a-file\n"));
            std::fs::create_dir(cage.folder.path().join("secrets")).unwrap();
            cage.write("secrets/key", &format!("{CANARY}-of-a-folder"));
            let (code, said) = cage.run(&["check", "w.properties", "c.properties"]);
            assert_eq!(code, Some(if property == "no.such.property" { 0 } else { 2 }), "{property}: {said}");
        }
    }
}

#[test]
fn what_comes_from_a_provider_shows_neither_where_it_is_used_nor_in_part() {
    let worker = "config.providers=file\nconfig.providers.file.class=FileConfigProvider\n";
    let secured = "src.kafka.security.protocol=SSL\n";
    for property in ["topic.regex", "topic.config.sync.exclude", "src.kafka.ssl.cipher.suites"] {
        let lines = format!("{secured}{property}=${{file:s.properties:key}}\n");
        let cage = files(NOBODY, NOBODY, worker, &lines);
        cage.write("s.properties", &format!("key={CANARY}-a(,{CANARY}-b\n"));
        for command in ["check", "run", "plan"] {
            let (code, said) = cage.run(&[command, "w.properties", "c.properties"]);
            assert_eq!(code, Some(2), "{property}: {said}");
            assert!(said.contains("${file:s.properties:key}"), "{property}: {said}");
        }
    }
}

#[test]
fn secrets_on_the_command_line_do_not_show() {
    let cage = Cage::new("", "");
    let password = format!("{CANARY}-said");
    let jaas = format!("src.kafka.sasl.jaas.config={PLAIN} required username=\"a\" password=\"{password}\";");
    let base = [
        "run",
        "--source",
        NOBODY,
        "--destination",
        NOBODY,
        "--topics",
        "t",
        "--rename",
        "${topic}.copy",
        "-vvv",
    ];
    let runs: [&[&str]; 6] = [
        // One that lost its key.
        &["--set", &password],
        &["--set", &jaas],
        &[
            "--set",
            &jaas,
            "--set",
            "src.kafka.security.protocol=SASL_SSL",
            "--set",
            "src.kafka.sasl.mechanism=PLAIN",
        ],
        &[
            "--set",
            "src.kafka.security.protocol=SSL",
            "--set",
            &format!("src.kafka.ssl.truststore.password={password}"),
        ],
        &["--set", &format!("src.kafka.ssl.key.pasword={password}")],
        &["--set", "src.kafka.security.protocol=PLAINTEXT", "--set", &jaas],
    ];
    thread::scope(|scope| {
        for run in runs {
            let (cage, base) = (&cage, &base);
            scope.spawn(move || {
                let (code, said) = cage.run(&[&base[..], run].concat());
                assert!(matches!(code, Some(2 | 3)), "{said}");
            });
        }
    });
    for help in [
        &["--help"][..],
        &["run", "--help"],
        &["plan", "--help"],
        &["check", "--help"],
        &["offsets", "--help"],
    ] {
        assert_eq!(cage.run(help).0, Some(0));
    }
}

/// A cluster that wants a login, on a thread of its own, until the sender is dropped.
fn secured_cluster(password: &str) -> (Cluster, tokio::sync::oneshot::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sasl = Some(Sasl::plain(&[("ann", password)]));
    let cluster = runtime.block_on(Cluster::start(Config { sasl, ..Config::default() })).unwrap();
    cluster.create_topic("t", 1, &[]);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    thread::spawn(move || runtime.block_on(stopped));
    (cluster, stop)
}

#[test]
fn logins_that_succeed_and_that_are_refused_show_nothing() {
    let password = format!("{CANARY}-pass\\word");
    let (source, _stop) = secured_cluster(&format!("{CANARY}-pass\\word"));
    let (destination, _stop_too) = secured_cluster(&format!("{CANARY}-pass\\word"));
    let (source, destination) = (source.bootstrap_servers(), destination.bootstrap_servers());
    let lines = |prefix: &str, module: &str, mechanism: &str, password: &str| {
        // Escaped for the login, and again for the file.
        let password = password.replace('\\', "\\\\\\\\");
        format!(
            "{prefix}security.protocol=SASL_PLAINTEXT\n{prefix}sasl.mechanism={mechanism}\n\
             {prefix}sasl.jaas.config={module} required username=\"ann\" password=\"{password}\";\n"
        )
    };
    let check = |mechanism: &str, module: &str, given: &str, expected: i32| {
        let connector =
            lines("src.kafka.", module, mechanism, given) + &lines("dest.kafka.", PLAIN, "PLAIN", &password);
        let (code, said) = files(&source, &destination, "", &connector).run_all();
        assert_eq!(code, Some(expected), "{said}");
        said
    };
    check("PLAIN", PLAIN, &password, 0);
    let said = check("PLAIN", PLAIN, &format!("{CANARY}-wrong"), 3);
    assert!(said.contains("source") && said.contains("PLAIN"), "{said}");
    let said = check("SCRAM-SHA-256", SCRAM, &password, 3);
    assert!(said.contains("source") && said.contains("SCRAM-SHA-256"), "{said}");
}

/// An identity provider that says what it was told to whoever asks, on a thread of its own.
fn talkative_provider() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut heard = [0; 4096];
            let bytes = socket.read(&mut heard).unwrap();
            let heard = String::from_utf8_lossy(&heard[..bytes]).replace(['\r', '\n', '"'], " ");
            let basic = heard.split("Basic ").nth(1).or(heard.split("basic ").nth(1)).unwrap_or_default();
            let basic = basic.split(' ').next().unwrap();
            let said = format!(
                r#"{{"error":"{basic}","error_description":"it has not {CANARY}-secret but {heard}"}}"#
            );
            let head =
                format!("HTTP/1.1 400 x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", said.len());
            socket.write_all((head + &said).as_bytes()).unwrap();
        }
    });
    format!("http://{address}/token")
}

#[test]
fn what_is_told_to_an_identity_provider_is_told_to_nobody_else() {
    let (source, _stop) = secured_cluster("x");
    let (destination, _stop_too) = secured_cluster("x");
    let (source, destination) = (source.bootstrap_servers(), destination.bootstrap_servers());
    let provider = talkative_provider();
    let handler = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler";
    // A client's id is public; its secret and the URL's query are not.
    let lines = |url: &str, options: &str, more: &str| {
        let lines = format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config={BEARER} required {options};\n\
             sasl.login.callback.handler.class={handler}\nsasl.oauthbearer.token.endpoint.url={url}\n{more}"
        );
        lines.lines().map(|line| format!("src.kafka.{line}\n")).collect::<String>()
    };
    let client = format!("clientId=\"me\" clientSecret=\"{CANARY}-secret\"");
    let property = format!("sasl.oauthbearer.client.credentials.client.secret={CANARY}-secret");
    let talkative = format!("{provider}?key={CANARY}");
    let secure = talkative.replace("http:", "https:");
    let user = format!("https://ann:{CANARY}@127.0.0.1:1/token");
    for (url, options, more, expected) in [
        (&talkative, &client, "", 3),
        (&talkative, &"clientId=\"me\"".to_owned(), &*property, 3),
        (&secure, &client, "", 3),
        (&format!("https://{NOBODY}/token?key={CANARY}"), &client, "sasl.login.retry.backoff.max.ms=100", 3),
        (&user, &client, "", 2),
        (&format!("{CANARY}://x"), &client, "", 2),
        (
            &talkative,
            &format!("{client} ssl.truststore.location={CANARY} ssl.truststore.type=\"{CANARY}\""),
            "",
            2,
        ),
        (&talkative, &format!("clientId=\"me\" clientSecret={CANARY}\"x\""), "", 2),
    ] {
        let (code, said) = files(&source, &destination, "", &lines(url, options, more)).run_all();
        assert_eq!(code, Some(expected), "{url}: {said}");
    }
}
