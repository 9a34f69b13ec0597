//! What the security properties of a connection come to, and what is said about them.

use std::time::Duration;

use properties::value::Secret;
use properties::{
    AwsIamSettings, AwsRoleSettings, ClaimSettings, ConnectorSettings, EndpointSettings, Entry,
    OffsetStorage, Place, SaslSettings, SecuritySettings, Settings, StoreFormat, StoreSettings, TlsSettings,
    TlsVersion, TokenSettings, load, parse,
};

const CONNECTOR: &str = "name=x\nconnector.class=ReplicatorSourceConnector\nsrc.kafka.bootstrap.servers=a:1\n\
    dest.kafka.bootstrap.servers=b:1\ntopic.whitelist=t\n";
const WORKER: &str = "bootstrap.servers=b:1\noffset.storage.file.filename=/f\n";

fn loaded(worker: &str, connector: &str) -> (Option<Settings>, String) {
    let worker = parse("w", &format!("{WORKER}{worker}")).0;
    let connector = parse("c", &format!("{CONNECTOR}{connector}")).0;
    let (settings, report) = load(&worker, &[connector]);
    let report = report.to_string();
    assert!(!report.contains("hunter2"), "{report}");
    let shown = format!("{settings:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    (settings.ok(), report)
}

/// The connector's settings, about which there is nothing to say.
fn loads(worker: &str, connector: &str) -> ConnectorSettings {
    let (settings, report) = loaded(worker, connector);
    assert_eq!(report, "");
    settings.expect("loads").connectors.remove(0)
}

fn says(worker: &str, connector: &str, expected: &str) {
    assert_eq!(loaded(worker, connector).1, expected, "{worker}{connector}");
}

/// The destination's security, from `dest.kafka.` and these lines behind it.
fn destination(lines: &str) -> SecuritySettings {
    loads("", &prefixed(lines)).destination.security
}

fn refuses(lines: &str, expected: &str) {
    says("", &prefixed(lines), expected);
}

fn prefixed(lines: &str) -> String {
    lines.lines().map(|line| format!("dest.kafka.{line}\n")).collect()
}

const PLAIN: &str = "sasl.mechanism=PLAIN\n\
    sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username=\"ann\" password=\"hunter2\";\n";

fn user(settings: &SecuritySettings) -> &str {
    match &settings.sasl {
        Some(SaslSettings::Plain { username, .. } | SaslSettings::Scram { username, .. }) => username,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_word_connections_are_plaintext_as_nobody() {
    let connector = loads("", "");
    assert_eq!(connector.source.security, SecuritySettings::default());
    assert_eq!(connector.destination.security, SecuritySettings::default());
}

#[test]
fn of_each_property_the_first_prefix_that_has_it_counts() {
    let jaas = |user: &str| {
        format!(
            "sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username={user} password=hunter2;\n"
        )
    };
    let given = |prefixes: &[&str]| {
        let lines = |prefix: &str| {
            let user = prefix.replace('.', "");
            format!(
                "{prefix}security.protocol=SASL_PLAINTEXT\n{prefix}sasl.mechanism=PLAIN\n{prefix}{}",
                jaas(&format!("u{user}"))
            )
        };
        prefixes.iter().map(|prefix| lines(prefix)).collect::<String>()
    };
    let source = |prefixes: &[&str]| user(&loads("", &given(prefixes)).source.security).to_owned();
    assert_eq!(source(&["src.kafka."]), "usrckafka");
    assert_eq!(source(&["src.kafka.", "src.consumer."]), "usrcconsumer");
    let destination = |worker: &[&str], connector: &[&str]| {
        user(&loads(&given(worker), &given(connector)).destination.security).to_owned()
    };
    assert_eq!(destination(&[""], &[]), "u");
    assert_eq!(destination(&["", "admin."], &[]), "uadmin");
    assert_eq!(destination(&["", "admin.", "producer."], &[]), "uproducer");
    assert_eq!(destination(&["producer."], &["admin.override."]), "uadminoverride");
    assert_eq!(destination(&["producer."], &["admin.override.", "producer.override."]), "uproduceroverride");
    assert_eq!(
        destination(&["producer."], &["admin.override.", "producer.override.", "dest.kafka."]),
        "udestkafka"
    );
    // Each property by itself, not each prefix as a whole.
    let worker =
        format!("producer.security.protocol=SASL_SSL\nproducer.sasl.mechanism=PLAIN\nproducer.{}", jaas("w"));
    let connector = loads(&worker, &format!("dest.kafka.{}", jaas("c")));
    assert_eq!(user(&connector.destination.security), "c");
    assert!(connector.destination.security.tls.is_some());
    assert_eq!(connector.source.security, SecuritySettings::default());
    let (key, place) = connector.destination.security.given("sasl.jaas.config").expect("it is given");
    assert_eq!((key, &*place.to_string()), ("dest.kafka.sasl.jaas.config", "c:6"));
}

#[test]
fn the_workers_own_secrets_are_not_for_another_cluster() {
    let worker = format!("security.protocol=SASL_SSL\n{PLAIN}");
    let (settings, report) = loaded(&worker, "producer.override.bootstrap.servers=z:9\n");
    assert!(
        settings.is_some_and(|settings| user(&settings.connectors[0].destination.security) == "ann"),
        "{report}"
    );

    let workers = parse("w", &format!("bootstrap.servers=w:1\noffset.storage.topic=o\n{worker}")).0;
    let (settings, report) = load(&workers, &[parse("c", CONNECTOR).0]);
    assert_eq!(
        report.to_string(),
        "info: w:3: `security.protocol` and what belongs to it are for the cluster of `bootstrap.servers`, and do not \
         hold for the destination, whose address is another\n\
         hint: secure the destination with `dest.kafka.security.protocol` and its like\n\
         info: c:4: the destination is `b:1`, not `w:1` of `bootstrap.servers` (w:1)\n"
    );
    let mut settings = settings.expect("loads");
    assert_eq!(settings.connectors.remove(0).destination.security, SecuritySettings::default());
    let OffsetStorage::Topic(topic) = settings.worker.offset_storage else { panic!() };
    assert_eq!(user(&topic.cluster.security), "ann");
}

#[test]
fn the_secrets_of_the_workers_producer_and_admin_are_for_their_own_cluster() {
    let loaded = |servers: &str, prefix: &str, lines: &str| {
        let lines: String = lines.lines().map(|line| format!("{prefix}{line}\n")).collect();
        let worker = parse("w", &format!("offset.storage.file.filename=/f\n{servers}\n{lines}")).0;
        let (settings, report) = load(&worker, &[parse("c", CONNECTOR).0]);
        (settings.expect("loads").connectors.remove(0).destination.security, report.to_string())
    };
    let lines = format!("security.protocol=SASL_SSL\n{PLAIN}");
    let another = |key: &str, servers: &str| {
        format!(
            "`{key}` and what belongs to it are for the cluster of `{servers}`, and do not hold for the destination, \
             whose address is another\n"
        )
    };
    for prefix in ["producer.", "admin."] {
        let (security, report) = loaded("bootstrap.servers=w:1", prefix, &lines);
        assert_eq!(security, SecuritySettings::default());
        let expected = another(&format!("{prefix}security.protocol"), "bootstrap.servers");
        assert!(report.starts_with(&format!("info: w:3: {expected}")), "{report}");

        let servers = format!("bootstrap.servers=w:1\n{prefix}bootstrap.servers=b:2,b:1");
        let (security, report) = loaded(&servers, prefix, &lines);
        assert_eq!(user(&security), "ann", "{report}");

        let servers = format!("bootstrap.servers=b:1\n{prefix}bootstrap.servers=p:1");
        let (security, report) = loaded(&servers, prefix, &lines);
        assert_eq!(security, SecuritySettings::default());
        let expected = another(&format!("{prefix}security.protocol"), &format!("{prefix}bootstrap.servers"));
        assert!(report.starts_with(&format!("info: w:4: {expected}")), "{report}");
    }
    let (security, report) =
        loaded("bootstrap.servers=w:1", "producer.", "ssl.truststore.location=/t\nssl.protocol=TLS");
    assert_eq!(security, SecuritySettings::default());
    let expected = another("producer.ssl.truststore.location", "bootstrap.servers");
    assert!(report.starts_with(&format!("info: w:3: {expected}")), "{report}");
}

#[test]
fn what_has_no_effect_is_told_and_without_any_protocol_refused() {
    says(
        "",
        "dest.kafka.sasl.jaas.config=hunter2\n",
        "error: c:6: the destination is given `dest.kafka.sasl.jaas.config`, and no `security.protocol`\n\
         hint: without it Kafka's clients connect in plaintext in spite of these; write \
         dest.kafka.security.protocol=SSL, SASL_PLAINTEXT or SASL_SSL, or PLAINTEXT to connect so here too\n",
    );
    refuses(
        "sasl.jaas.config=hunter2\nsecurity.protocol=PLAINTEXT",
        "warning: c:6: without effect while `security.protocol` of the destination is PLAINTEXT: \
         `dest.kafka.sasl.jaas.config`\n",
    );
    refuses(
        "security.protocol=SSL\nsasl.mechanism=PLAIN\nssl.truststore.location=/t",
        "warning: c:7: without effect while `security.protocol` of the destination is SSL: \
         `dest.kafka.sasl.mechanism`\n",
    );
    refuses(
        &format!(
            "security.protocol=SASL_PLAINTEXT\n{PLAIN}ssl.truststore.location=/t\nsasl.kerberos.service.name=k"
        ),
        "warning: c:9: without effect while `security.protocol` of the destination is SASL_PLAINTEXT: \
         `dest.kafka.ssl.truststore.location`\n\
         warning: c:10: without effect while `sasl.mechanism` of the destination is PLAIN: \
         `dest.kafka.sasl.kerberos.service.name`\n",
    );
    // What a prefix that counts less says is another's business.
    says(
        &format!("producer.security.protocol=SASL_SSL\n{PLAIN}"),
        "dest.kafka.security.protocol=PLAINTEXT\n",
        "",
    );
    says("", "dest.kafka.security.protocol=\n", "");
    says(
        "",
        "src.consumer.security.protocol=TLS\n",
        "error: c:6: `src.consumer.security.protocol` is `TLS`, which it cannot be\n\
         hint: it takes `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`\n",
    );
    // Defaults spelled out ask for nothing, nor do clients that do not exist here.
    says("", "dest.kafka.ssl.endpoint.identification.algorithm=https\ndest.kafka.ssl.protocol=TLSv1.2\n", "");
    says(
        "consumer.ssl.key.password=hunter2\n",
        "confluent.topic.security.protocol=SASL_SSL\nconsumer.override.sasl.mechanism=PLAIN\n",
        "info: accepted, though without meaning here: `confluent.topic.security.protocol` (no licence is needed); \
         `consumer.override.sasl.mechanism`, `consumer.ssl.key.password` (it serves sink connectors only)\n",
    );
}

fn tls(lines: &str) -> TlsSettings {
    destination(&format!("security.protocol=SSL\n{lines}")).tls.expect("it is encrypted")
}

#[test]
fn tls_without_more_trusts_the_system_and_checks_the_host() {
    let tls = tls("");
    assert_eq!((&tls.trust, &tls.identity, tls.verify_host), (&None, &None, true));
    assert_eq!(tls.protocols, [TlsVersion::V1_2, TlsVersion::V1_3]);
    assert!(tls.cipher_suites.is_empty());
    assert!(destination("security.protocol=ssl").tls.is_some());
}

#[test]
fn stores_are_files_of_a_format_or_text_in_the_settings() {
    let stores =
        tls("ssl.truststore.location=/t.jks\nssl.truststore.password=hunter2\nssl.keystore.type=pkcs12\n\
         ssl.keystore.location=/k.p12\nssl.keystore.password=hunter2\nssl.key.password=hunter2k");
    let Some(StoreSettings::File { path, format: StoreFormat::Jks, password: Some(password) }) =
        &stores.trust
    else {
        panic!("{stores:?}")
    };
    assert_eq!((path.to_str(), password.reveal()), (Some("/t.jks"), "hunter2"));
    let identity = stores.identity.expect("there is a key store");
    assert!(matches!(identity.store, StoreSettings::File { format: StoreFormat::Pkcs12, .. }));
    assert_eq!(identity.key_password.as_ref().map(Secret::reveal), Some("hunter2k"));

    let inline = tls(
        "ssl.truststore.type=PEM\nssl.truststore.certificates=-----BEGIN\\n-----END\nssl.keystore.type=PEM\n\
         ssl.keystore.key=hunter2\nssl.keystore.certificate.chain=hunter2",
    );
    let Some(StoreSettings::Inline { certificates, key: None }) = &inline.trust else { panic!("{inline:?}") };
    assert_eq!(certificates.reveal(), "-----BEGIN\n-----END");
    let Some(identity) = inline.identity else { panic!() };
    assert!(matches!(identity.store, StoreSettings::Inline { key: Some(_), .. }));

    let pem = tls(
        "ssl.truststore.type=PEM\nssl.truststore.location=/t.pem\nssl.keystore.type=PEM\nssl.keystore.location=/k.pem",
    );
    assert!(matches!(pem.trust, Some(StoreSettings::File { format: StoreFormat::Pem, password: None, .. })));
    assert!(pem.identity.is_some());
}

#[test]
fn a_summary_says_what_there_is() {
    let summary = |lines: &str| destination(lines).summary();
    assert_eq!(summary("security.protocol=PLAINTEXT"), None);
    assert_eq!(summary("security.protocol=SSL").as_deref(), Some("TLS"));
    let mutual = "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=/k";
    assert_eq!(summary(mutual).as_deref(), Some("TLS with a client certificate"));
    let plain = summary(&format!("security.protocol=SASL_PLAINTEXT\n{PLAIN}"));
    assert_eq!(plain.as_deref(), Some("no TLS, PLAIN"));
    let plain = summary(&format!("security.protocol=SASL_SSL\n{PLAIN}"));
    assert_eq!(plain.as_deref(), Some("TLS, PLAIN"));
}

#[test]
fn stores_that_kafka_refuses_are_refused() {
    let refuses = |lines: &str, expected: &str| {
        refuses(&format!("security.protocol=SSL\n{lines}"), expected);
    };
    refuses(
        "ssl.truststore.password=hunter2",
        "error: c:7: `dest.kafka.ssl.truststore.password` is given without `dest.kafka.ssl.truststore.location`: there \
         is no store that it opens\n\
         hint: name the store, or remove the password\n",
    );
    refuses(
        "ssl.keystore.location=/k\nssl.keystore.type=PEM\nssl.keystore.password=hunter2",
        "error: c:9: `dest.kafka.ssl.keystore.password` is given, but a PEM store has no password\n\
         hint: only its key may: `ssl.key.password`\n",
    );
    refuses(
        "ssl.keystore.location=/k",
        "error: c:7: `dest.kafka.ssl.keystore.location` is given, and `dest.kafka.ssl.keystore.password` is missing\n\
         hint: write the password of the key store\n",
    );
    refuses(
        "ssl.keystore.type=PEM\nssl.keystore.key=hunter2",
        "error: c:8: `dest.kafka.ssl.keystore.key` is given, and `dest.kafka.ssl.keystore.certificate.chain` is missing\n\
         hint: a certificate and its key are of use together only\n",
    );
    refuses(
        "ssl.truststore.certificates=hunter2\nssl.truststore.location=/t",
        "error: c:7: `dest.kafka.ssl.truststore.certificates` can be given only where `dest.kafka.ssl.truststore.type` is \
         `PEM`\n\
         hint: write dest.kafka.ssl.truststore.type=PEM\n\
         error: c:7: `dest.kafka.ssl.truststore.certificates` and `dest.kafka.ssl.truststore.location` are given, and \
         one of them can count\n\
         hint: remove one of them\n",
    );
    refuses(
        "ssl.truststore.location=/t\nssl.truststore.type=BCFKS",
        "error: c:8: `dest.kafka.ssl.truststore.type` is `BCFKS`, a format that is not read here\n\
         hint: it takes `JKS`, `PKCS12` or `PEM`; `keytool -importkeystore -deststoretype PKCS12` makes one of another\n",
    );
}

#[test]
fn the_host_is_checked_unless_that_is_switched_off_and_warned_about() {
    let (settings, report) =
        loaded("", &prefixed("security.protocol=SSL\nssl.endpoint.identification.algorithm="));
    let tls_found = settings.expect("loads").connectors.remove(0).destination.security.tls;
    assert!(tls_found.is_some_and(|tls| !tls.verify_host));
    assert_eq!(
        report,
        "warning: c:7: `dest.kafka.ssl.endpoint.identification.algorithm` is empty: whoever has any certificate that is \
         trusted can pose as a broker of the destination\n\
         hint: better give the brokers certificates with their names, and write `https`\n"
    );
    assert!(tls("ssl.endpoint.identification.algorithm=HTTPS").verify_host);
    refuses(
        "security.protocol=SSL\nssl.endpoint.identification.algorithm=none",
        "error: c:7: `dest.kafka.ssl.endpoint.identification.algorithm` is `none`, which it cannot be\n\
         hint: it takes `https`, or nothing to switch the check off\n",
    );
}

#[test]
fn versions_and_suites_are_those_given_without_the_old_ones() {
    assert_eq!(tls("ssl.enabled.protocols=TLSv1.3").protocols, [TlsVersion::V1_3]);
    assert_eq!(tls("ssl.protocol=TLSv1.2").protocols, [TlsVersion::V1_2]);
    assert_eq!(tls("ssl.protocol=TLS").protocols.len(), 2);
    assert_eq!(
        tls("ssl.cipher.suites=TLS_AES_128_GCM_SHA256, X").cipher_suites,
        ["TLS_AES_128_GCM_SHA256", "X"]
    );
    refuses(
        "security.protocol=SSL\nssl.enabled.protocols=TLSv1.2,TLSv1.1,TLSv1",
        "warning: c:7: `dest.kafka.ssl.enabled.protocols` names `TLSv1.1` and `TLSv1`, which nobody should speak any more: \
         left out\n",
    );
    refuses(
        "security.protocol=SSL\nssl.enabled.protocols=TLSv1.1",
        "error: c:7: no version of TLS is left for the destination that is spoken here\n\
         hint: TLSv1.2 and TLSv1.3 are\n",
    );
    refuses(
        "security.protocol=SSL\nssl.protocol=SSLv3",
        "error: c:7: `dest.kafka.ssl.protocol` is `SSLv3`, which is not spoken here\n\
         hint: it takes `TLSv1.3`, `TLSv1.2` or `TLS`\n",
    );
}

#[test]
fn what_java_alone_can_do_is_refused_where_it_would_have_an_effect() {
    refuses(
        "security.protocol=SSL\nssl.engine.factory.class=com.example.Engine\nssl.provider=SunJSSE",
        "error: c:7: `dest.kafka.ssl.engine.factory.class` is `com.example.Engine`: classes and providers of Java are not \
         loaded here, and ignoring it would change how the destination is reached\n\
         hint: remove it to connect without\n",
    );
    refuses(
        "security.protocol=PLAINTEXT\nssl.engine.factory.class=com.example.Engine",
        "warning: c:7: without effect while `security.protocol` of the destination is PLAINTEXT: \
         `dest.kafka.ssl.engine.factory.class`\n",
    );
    refuses(
        &format!("security.protocol=SASL_SSL\n{PLAIN}sasl.login.callback.handler.class=com.example.Vault"),
        "error: c:9: `dest.kafka.sasl.login.callback.handler.class` is `com.example.Vault`: only Kafka's own ways to get a \
         login are built\n\
         hint: remove it to log in without\n",
    );
    refuses(
        &format!("security.protocol=SASL_SSL\n{PLAIN}sasl.client.callback.handler.class=com.example.Vault"),
        "error: c:9: `dest.kafka.sasl.client.callback.handler.class` is `com.example.Vault`: classes and providers of Java \
         are not loaded here, and ignoring it would change how the destination is reached\n\
         hint: remove it to connect without\n",
    );
}

fn sasl(mechanism: &str, jaas: &str) -> SaslSettings {
    let lines = format!("security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nsasl.jaas.config={jaas}");
    destination(&lines).sasl.expect("it logs in")
}

const PLAIN_MODULE: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM_MODULE: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";
const BEARER_MODULE: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

#[test]
fn users_log_in_by_either_module() {
    for module in [PLAIN_MODULE, SCRAM_MODULE] {
        let jaas = format!("{module} required username=\"ann\" password='hunter2;';");
        let SaslSettings::Plain { username, password } = sasl("PLAIN", &jaas) else { panic!() };
        assert_eq!((&*username, password.reveal()), ("ann", "hunter2;"));
        let scram = sasl("SCRAM-SHA-512", &jaas);
        assert!(matches!(scram, SaslSettings::Scram { sha512: true, is_token: false, .. }), "{scram:?}");
    }
    let token = sasl(
        "SCRAM-SHA-256",
        &format!("{SCRAM_MODULE} required username=id password=hunter2 tokenauth=\"true\";"),
    );
    assert!(matches!(token, SaslSettings::Scram { sha512: false, is_token: true, .. }), "{token:?}");
}

#[test]
fn a_login_that_cannot_be_read_is_told_by_its_place() {
    let refuses = |jaas: &str, expected: &str| {
        refuses(&format!("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n{jaas}"), expected);
    };
    let form = format!("hint: its form is: {PLAIN_MODULE} required option=\"value\" option=\"value\";\n");
    refuses(
        &format!("sasl.jaas.config={PLAIN_MODULE} required username=\"ann\" password=\"hunter2\""),
        &format!(
            "error: c:8: `dest.kafka.sasl.jaas.config` cannot be read: a `;` must end it, behind the last option \
             (character 99 of the value)\n{form}"
        ),
    );
    refuses(
        "",
        "error: c:6: `dest.kafka.sasl.jaas.config` is missing, which says who logs in to the destination\n\
         hint: write it as for Kafka's clients; a file that `java.security.auth.login.config` (`KAFKA_OPTS`) names is not \
         read\n",
    );
    refuses(
        &format!("sasl.jaas.config={BEARER_MODULE} required;"),
        &format!(
            "error: c:8: `dest.kafka.sasl.jaas.config` names the login module `{BEARER_MODULE}`, and \
             `dest.kafka.sasl.mechanism` is `PLAIN`\n\
             hint: for that mechanism it begins with {PLAIN_MODULE}\n"
        ),
    );
    refuses(
        "sasl.jaas.config=hunter2 required;",
        &format!(
            "error: c:8: `dest.kafka.sasl.jaas.config` does not begin with the class of a login module, and \
             `dest.kafka.sasl.mechanism` is `PLAIN`\n\
             hint: for that mechanism it begins with {PLAIN_MODULE}\n"
        ),
    );
    refuses(
        &format!("sasl.jaas.config={PLAIN_MODULE} required username=\"\" pasword=\"hunter2\";"),
        "error: c:8: `dest.kafka.sasl.jaas.config` has no `username`\n\
         hint: add username=\"…\" before its last `;`\n\
         error: c:8: `dest.kafka.sasl.jaas.config` has no `password`\n\
         hint: add password=\"…\" before its last `;`\n\
         warning: c:8: `dest.kafka.sasl.jaas.config` holds options without effect here, at character 78 of the value\n",
    );
}

#[test]
fn mechanisms_that_are_not_built_are_refused_by_name() {
    const KNOWN: &str = "hint: it takes `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`, `GSSAPI` or `AWS_MSK_IAM`\n";
    refuses(
        "security.protocol=SASL_SSL\nsasl.jaas.config=hunter2",
        &format!(
            "error: c:6: `dest.kafka.sasl.mechanism` is missing, and `dest.kafka.sasl.jaas.config` is not for Kafka's \
             default, `GSSAPI` (Kerberos)\n{KNOWN}"
        ),
    );
    refuses(
        "security.protocol=SASL_SSL\nsasl.mechanism=plain",
        &format!("error: c:7: `dest.kafka.sasl.mechanism` is `plain`, which is not known\n{KNOWN}"),
    );
}

#[test]
fn bearer_tokens_are_made_here_or_read_from_a_file() {
    let jaas = format!(
        "{BEARER_MODULE} Required unsecuredLoginStringClaim_sub=\"ann\" unsecuredLoginNumberClaim_n=\"1.5\" \
         unsecuredLoginListClaim_scope=\"|a|b\" unsecuredLoginLifetimeSeconds=\"60\" unsecuredLoginExtension_traceId=\"1\";"
    );
    let SaslSettings::OauthBearer { token, extensions } = sasl("OAUTHBEARER", &jaas) else { panic!() };
    assert_eq!(extensions.get("traceId").map(String::as_str), Some("1"));
    let TokenSettings::Unsecured { claims, principal_claim, scope_claim, lifetime_seconds } = token else {
        panic!()
    };
    assert_eq!((&*principal_claim, &*scope_claim, lifetime_seconds), ("sub", "scope", 60));
    assert_eq!(claims.get("sub"), Some(&ClaimSettings::Text("ann".into())));
    assert_eq!(claims.get("n"), Some(&ClaimSettings::Number("1.5".into())));
    assert_eq!(claims.get("scope"), Some(&ClaimSettings::List(vec!["a".into(), "b".into()])));

    let from = |url: &str| {
        format!(
            "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config={BEARER_MODULE} required;\n\
             sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
             sasl.oauthbearer.token.endpoint.url={url}"
        )
    };
    let file = destination(&from("file:///run/token"));
    assert_eq!(file.secret_files().map(|path| path.to_str()).collect::<Vec<_>>(), [Some("/run/token")]);
    refuses(
        &format!("{}\nsasl.oauthbearer.scope=all", from("file:///run/token")),
        "warning: c:11: without effect since no identity provider is asked for tokens of the destination: \
         `dest.kafka.sasl.oauthbearer.scope`\n",
    );
    refuses(
        &from("hunter2:token"),
        "error: c:10: `dest.kafka.sasl.oauthbearer.token.endpoint.url` is neither the URL of a provider nor that of a file\n\
         hint: write the `https://…` of an identity provider, or file:///… of a file that holds a token\n",
    );
    refuses(
        &format!(
            "{}\nsasl.oauthbearer.jwt.retriever.class=org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever",
            from("file:///t")
        ),
        "error: c:11: `dest.kafka.sasl.oauthbearer.jwt.retriever.class` is \
         `org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever`, and \
         `dest.kafka.sasl.oauthbearer.token.endpoint.url` names a file\n\
         hint: remove it to read the file\n",
    );
}

/// `OAUTHBEARER` by a provider, with these options of the login and these further lines.
fn provider(options: &str, lines: &str) -> String {
    format!(
        "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config={BEARER_MODULE} required {options};\n\
         sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler\n\
         sasl.oauthbearer.token.endpoint.url=https://idp.example/token\n{lines}"
    )
}

fn endpoint(options: &str, lines: &str) -> EndpointSettings {
    match destination(&provider(options, lines)).sasl {
        Some(SaslSettings::OauthBearer { token: TokenSettings::Endpoint(endpoint), .. }) => *endpoint,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_identity_provider_is_asked_with_a_client_and_its_secret() {
    let few = endpoint("clientId=\"me\" clientSecret=\"hunter2\" scope=\"a b\" extension_traceId=\"1\"", "");
    assert_eq!(
        (&*few.url, &*few.client_id, few.scope.as_deref()),
        ("https://idp.example/token", "me", Some("a b"))
    );
    assert_eq!(few.client_secret.reveal(), "hunter2");
    assert_eq!((few.urlencode, few.connect_timeout, few.read_timeout), (false, None, None));
    assert_eq!((&*few.sub_claim, &*few.scope_claim), ("sub", "scope"));
    assert_eq!((few.retry_backoff.as_millis(), few.retry_backoff_max.as_millis()), (100, 10_000));
    assert_eq!((few.refresh_window_factor_ppm, few.refresh_window_jitter_ppm), (800_000, 50_000));
    assert_eq!((few.refresh_min_period.as_secs(), few.refresh_buffer.as_secs()), (60, 300));
    assert_eq!((few.tls.trust, few.tls.verify_host), (None, true), "those of the brokers are not for it");

    let all = endpoint(
        "ssl.truststore.location=\"/t\" ssl.truststore.password=hunter2 ssl.keystore.location='/k' ssl.keystore.password=hunter2",
        "ssl.truststore.location=/brokers\nssl.truststore.password=hunter2\n\
         sasl.oauthbearer.client.credentials.client.id=me\n\
         sasl.oauthbearer.client.credentials.client.secret=hunter2\nsasl.oauthbearer.scope=s\n\
         sasl.oauthbearer.header.urlencode=TRUE\nsasl.oauthbearer.sub.claim.name=azp\n\
         sasl.oauthbearer.scope.claim.name=scp\nsasl.login.connect.timeout.ms=1\nsasl.login.read.timeout.ms=2\n\
         sasl.login.retry.backoff.ms=3\nsasl.login.retry.backoff.max.ms=4\nsasl.login.refresh.window.factor=0.5\n\
         sasl.login.refresh.window.jitter=0.25\nsasl.login.refresh.min.period.seconds=5\n\
         sasl.login.refresh.buffer.seconds=6\n\
         sasl.oauthbearer.jwt.retriever.class=org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever",
    );
    assert_eq!((&*all.client_id, all.scope.as_deref(), all.urlencode), ("me", Some("s"), true));
    assert_eq!((&*all.sub_claim, &*all.scope_claim), ("azp", "scp"));
    let ms = |time: Duration| time.as_millis();
    assert_eq!((all.connect_timeout.map(ms), all.read_timeout.map(ms)), (Some(1), Some(2)));
    assert_eq!((ms(all.retry_backoff), ms(all.retry_backoff_max)), (3, 4));
    assert_eq!((all.refresh_window_factor_ppm, all.refresh_window_jitter_ppm), (500_000, 250_000));
    assert_eq!((ms(all.refresh_min_period), ms(all.refresh_buffer)), (5_000, 6_000));
    assert!(matches!(&all.tls.trust, Some(StoreSettings::File { path, .. }) if path.to_str() == Some("/t")));
    let secured = destination(&provider(
        "clientId=a clientSecret=hunter2 ssl.keystore.location=\"/k\" ssl.keystore.type=PEM",
        "",
    ));
    assert_eq!(secured.secret_files().map(|path| path.to_str()).collect::<Vec<_>>(), [Some("/k")]);
}

#[test]
fn a_provider_that_cannot_be_asked_as_it_is_said_is_told() {
    let refuses = |options: &str, lines: &str, expected: &str| refuses(&provider(options, lines), expected);
    let client = "clientId=a clientSecret=hunter2";
    refuses(
        "clientId=\" \"",
        "",
        "error: c:8: `dest.kafka.sasl.jaas.config` has no `clientId`, which the provider asks for\n\
         hint: add clientId=\"…\" before its last `;`, or write dest.kafka.sasl.oauthbearer.client.credentials.client.id\n\
         error: c:8: `dest.kafka.sasl.jaas.config` has no `clientSecret`, which the provider asks for\n\
         hint: add clientSecret=\"…\" before its last `;`, or write \
         dest.kafka.sasl.oauthbearer.client.credentials.client.secret\n",
    );
    refuses(
        client,
        "sasl.oauthbearer.client.credentials.client.secret=hunter2b",
        "warning: c:11: `dest.kafka.sasl.oauthbearer.client.credentials.client.secret` and `clientSecret` of \
         `dest.kafka.sasl.jaas.config` are given: the former counts\n",
    );
    refuses(
        client,
        "sasl.oauthbearer.assertion.claim.iss=me\nsasl.oauthbearer.assertion.algorithm=RS256",
        "error: c:11: `dest.kafka.sasl.oauthbearer.assertion.claim.iss` is given: assertions to an identity provider are not \
         built yet, only a client's id and its secret\n\
         hint: remove it to log in without\n",
    );
    refuses(
        client,
        "sasl.oauthbearer.jwt.retriever.class=org.apache.kafka.common.security.oauthbearer.JwtBearerJwtRetriever",
        "error: c:11: `dest.kafka.sasl.oauthbearer.jwt.retriever.class` is \
         `org.apache.kafka.common.security.oauthbearer.JwtBearerJwtRetriever`: classes and providers of Java are not loaded \
         here, and ignoring it would change how the destination is reached\n\
         hint: remove it to connect without\n",
    );
    refuses(
        client,
        "sasl.oauthbearer.jwt.retriever.class=org.apache.kafka.common.security.oauthbearer.FileJwtRetriever",
        "error: c:11: `dest.kafka.sasl.oauthbearer.jwt.retriever.class` is \
         `org.apache.kafka.common.security.oauthbearer.FileJwtRetriever`, and \
         `dest.kafka.sasl.oauthbearer.token.endpoint.url` names no file\n\
         hint: remove it to ask the provider\n",
    );
    refuses(
        client,
        "sasl.login.refresh.window.factor=0.4\nsasl.login.retry.backoff.max.ms=50",
        "error: c:11: `dest.kafka.sasl.login.refresh.window.factor` is `0.4`, outside its range\n\
         hint: it takes a number from 0.5 to 1\n\
         error: c:12: `dest.kafka.sasl.login.retry.backoff.max.ms` is less than `dest.kafka.sasl.login.retry.backoff.ms`\n\
         hint: write at least as much\n",
    );
    refuses(
        &format!("{client} ssl.truststore.type=hunter2 ssl.endpoint.identification.algorithm=\"\""),
        "",
        "error: c:8: `dest.kafka.sasl.jaas.config: ssl.truststore.type` is `[hidden]`, a format that is not read here\n\
         hint: it takes `JKS`, `PKCS12` or `PEM`; `keytool -importkeystore -deststoretype PKCS12` makes one of another\n\
         warning: c:8: `dest.kafka.sasl.jaas.config` holds options `ssl.…` that have no effect on TLS with the provider\n",
    );
    refuses(
        &format!("{client} ssl.provider=hunter2 clientID=hunter2"),
        "",
        "error: c:8: `dest.kafka.sasl.jaas.config: ssl.provider`: classes and providers of Java are not loaded here\n\
         hint: remove it to connect without\n\
         warning: c:8: `dest.kafka.sasl.jaas.config` holds options without effect here, at character 131 of the value\n",
    );
    let plain = provider(&format!("{client} ssl.truststore.location=\"/t\""), "").replace("https:", "http:");
    says(
        "",
        &prefixed(&plain),
        "warning: c:8: `dest.kafka.sasl.jaas.config` holds options without effect here, at character 110 of the value\n\
         warning: c:10: `dest.kafka.sasl.oauthbearer.token.endpoint.url` is not encrypted: whoever is on the way can read \
         the client's secret and the tokens\n\
         hint: better write `https://…`\n",
    );
}

const IAM_MODULE: &str = "software.amazon.msk.auth.iam.IAMLoginModule";

/// `AWS_MSK_IAM` with these options of the login and these further lines.
fn aws(options: &str, lines: &str) -> String {
    format!(
        "security.protocol=SASL_SSL\nsasl.mechanism=AWS_MSK_IAM\nsasl.jaas.config={IAM_MODULE} required {options};\n\
         sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler\n{lines}"
    )
}

#[test]
fn keys_of_aws_are_looked_for_where_the_login_says() {
    let iam = |options: &str| match destination(&aws(options, "")).sasl {
        Some(SaslSettings::AwsMskIam(settings)) => *settings,
        other => panic!("{other:?}"),
    };
    let usual = AwsIamSettings {
        profile: None,
        role: None,
        default_sources: true,
        debug: false,
        retries_max: 3,
        backoff_max: Duration::from_secs(5),
    };
    assert_eq!(iam(""), usual);
    let few = iam(
        "awsProfileName=\"p\" awsDebugCreds=true awsMaxRetries=\"-1\" awsMaxBackOffTimeMs=\"7\" awsAddDefaultProviders=false \
         awsShouldUseFips=false",
    );
    let expected = AwsIamSettings {
        profile: Some("p".to_owned()),
        default_sources: false,
        debug: true,
        retries_max: 0,
        backoff_max: Duration::from_millis(7),
        ..usual
    };
    assert_eq!(few, expected);
    let role = iam("awsRoleArn=\"arn:aws:iam::1:role/r\"").role.expect("there is a role");
    let expected = AwsRoleSettings {
        arn: "arn:aws:iam::1:role/r".to_owned(),
        session_name: "aws-msk-iam-auth".to_owned(),
        external_id: None,
        keys: None,
        sts_region: "aws-global".to_owned(),
    };
    assert_eq!(role, expected);
    let role = iam(
        "awsRoleArn=arn awsRoleSessionName=me awsRoleExternalId=x awsRoleAccessKeyId=AKID awsRoleSecretAccessKey=hunter2 \
         awsRoleSessionToken=hunter2t awsStsRegion=\"eu-west-1\"",
    )
    .role
    .expect("there is a role");
    let keys = role.keys.expect("it has keys");
    assert_eq!(
        (&*keys.0, keys.1.reveal(), keys.2.as_ref().map(Secret::reveal)),
        ("AKID", "hunter2", Some("hunter2t"))
    );
    assert_eq!(
        (&*role.session_name, role.external_id.as_deref(), &*role.sts_region),
        ("me", Some("x"), "eu-west-1")
    );
}

#[test]
fn a_login_by_aws_that_cannot_be_as_it_is_said_is_told() {
    refuses(
        &aws(
            "awsMskRegionProvider=hunter2 awsShouldUseFips=true awsRoleArn=a awsRoleAccessKeyId=hunter2",
            "",
        ),
        "error: c:8: `dest.kafka.sasl.jaas.config` names `awsMskRegionProvider`: classes of Java are not loaded here\n\
         hint: remove it; AWS_REGION says the region of brokers without one in their names\n\
         error: c:8: `dest.kafka.sasl.jaas.config` sets `awsShouldUseFips`: FIPS endpoints of AWS are not built yet\n\
         hint: remove it to use the usual ones\n\
         error: c:8: `dest.kafka.sasl.jaas.config` has one of `awsRoleAccessKeyId` and `awsRoleSecretAccessKey`, which are of \
         use together only\n\
         hint: add the other, or remove it\n",
    );
    refuses(
        &aws("awsMaxRetries=hunter2 awsRoleSecretAccessKey=hunter2", ""),
        "error: c:8: `dest.kafka.sasl.jaas.config` gives `awsMaxRetries` a number that is none\n\
         hint: write a whole number in quotes\n\
         warning: c:8: `dest.kafka.sasl.jaas.config` holds options without effect here, at character 76 of the value\n",
    );
    refuses(
        &aws("", "").replace("SASL_SSL", "SASL_PLAINTEXT"),
        "warning: c:6: `dest.kafka.security.protocol` logs in by AWS_MSK_IAM without encryption: whoever is on the way can log \
         in with what is said for a quarter of an hour\n\
         hint: write SASL_SSL, as Amazon's brokers want it\n",
    );
    refuses(
        &aws(
            "",
            "sasl.login.callback.handler.class=software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler",
        ),
        "error: c:10: `dest.kafka.sasl.login.callback.handler.class` is \
         `software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler`: only Kafka's own ways to get a login are built\n\
         hint: remove it to log in without\n",
    );
    refuses(
        &format!(
            "security.protocol=SASL_SSL\n{PLAIN}sasl.client.callback.handler.class=software.amazon.msk.auth.iam.IAMClientCallbackHandler"
        ),
        "error: c:9: `dest.kafka.sasl.client.callback.handler.class` is for AWS_MSK_IAM, and the mechanism is PLAIN\n\
         hint: remove it, or write sasl.mechanism=AWS_MSK_IAM\n",
    );
}

#[test]
fn unsecured_tokens_that_kafka_would_not_make_are_refused() {
    let refuses = |options: &str, expected: &str| {
        let lines = format!(
            "security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nsasl.jaas.config={BEARER_MODULE} required {options};"
        );
        let (_, report) = loaded("", &prefixed(&lines));
        assert!(
            report.starts_with(&format!("error: c:8: `dest.kafka.sasl.jaas.config` {expected}")),
            "{report}"
        );
    };
    refuses("", "has no `unsecuredLoginStringClaim_sub`, which says who logs in");
    refuses(
        "unsecuredLoginStringClaim_sub=a unsecuredLoginStringClaim_exp=hunter2",
        "gives a value to the claim `exp`, which is computed",
    );
    refuses(
        "unsecuredLoginStringClaim_sub=a unsecuredLoginNumberClaim_x=hunter2",
        "gives a claim a number that is none (character ",
    );
    refuses(
        "unsecuredLoginStringClaim_sub=a unsecuredLoginLifetimeSeconds=hunter2",
        "gives `unsecuredLoginLifetimeSeconds` a number that is none",
    );
    refuses(
        "unsecuredLoginStringClaim_sub=a unsecuredLoginExtension_auth=hunter2",
        "holds an extension that cannot be sent (character ",
    );
    refuses(
        "unsecuredLoginStringClaim_x=a unsecuredLoginPrincipalClaimName=sub",
        "gives no text to the claim that says who logs in",
    );
}

#[test]
fn a_value_from_a_provider_is_shown_as_it_stands_in_the_file() {
    let place = Place::new("c", 9);
    let entry = |key: &str, value: &str| Entry {
        reference: Some("${file:/s:x}".into()),
        ..Entry::new(key, value, &place)
    };
    let says = |entry: Entry, expected: &str| {
        let mut connector = parse("c", CONNECTOR).0;
        connector.push(entry);
        let report = load(&parse("w", WORKER).0, &[connector]).1.to_string();
        assert!(report.contains(expected) && !report.contains("hunter2"), "{report}");
    };
    says(
        entry("tasks.max", "hunter2"),
        "`tasks.max` is `${file:/s:x}`, and what that gives is no such value\n",
    );
    says(
        entry("topic.rename.format", "hunter2 !"),
        "`topic.rename.format` is `${file:/s:x}`, which makes no name",
    );
    says(entry("transforms", "hunter2"), "`transforms` is `${file:/s:x}`: not built yet");
    says(
        entry("dest.kafka.security.protocol", "hunter2"),
        "`dest.kafka.security.protocol` is `${file:/s:x}`, which",
    );
}
