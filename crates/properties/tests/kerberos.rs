//! What logging in by Kerberos comes to, and what is said about it.

use properties::{KerberosSettings, SaslSettings, TicketCacheSettings, load, parse};

const MODULE: &str = "com.sun.security.auth.module.Krb5LoginModule";
const KEYTAB: &str = "useKeyTab=true storeKey=true keyTab=\"/k\" principal=\"ann@R\"";

/// The source's login with these options and lines, and the report.
fn loaded(options: &str, lines: &str) -> (Option<KerberosSettings>, String) {
    let connector = format!(
        "name=x\nconnector.class=ReplicatorSourceConnector\nsrc.kafka.bootstrap.servers=a:1\n\
         dest.kafka.bootstrap.servers=b:1\ntopic.whitelist=t\nsrc.kafka.security.protocol=SASL_PLAINTEXT\n\
         src.kafka.sasl.jaas.config={MODULE} required {options};\n{lines}"
    );
    let (settings, report) = load(&[], &[parse("c", &connector).0]);
    let sasl = settings.ok().and_then(|mut settings| settings.connectors.remove(0).source.security.sasl);
    let kerberos = sasl.map(|sasl| match sasl {
        SaslSettings::Gssapi(kerberos) => kerberos,
        other => panic!("{other:?}"),
    });
    (kerberos, report.to_string())
}

const NAME: &str = "src.kafka.sasl.kerberos.service.name=kafka\n";

fn login(options: &str) -> KerberosSettings {
    let (login, report) = loaded(options, NAME);
    assert_eq!(report, "", "{options}");
    login.expect("it loads")
}

fn says(options: &str, lines: &str, expected: &str) {
    let (login, report) = loaded(options, lines);
    assert_eq!(report, expected, "{options}");
    assert!(login.is_none() || !report.contains("error"));
}

#[test]
fn a_keytab_a_ticket_cache_or_both_give_tickets() {
    let keytab = KerberosSettings {
        service_name: "kafka".to_owned(),
        principal: Some("ann@R".to_owned()),
        ticket_cache: None,
        keytab: Some("/k".into()),
    };
    assert_eq!(login(KEYTAB), keytab);
    let without_a_word = "doNotPrompt=true refreshKrb5Config=TRUE clearPass=true debug=true isInitiator=true";
    assert_eq!(login(&format!("{KEYTAB} {without_a_word}")), keytab);
    assert_eq!(login(&KEYTAB.replace("/k", "FILE:/k")), keytab);
    let both = format!("{KEYTAB} useTicketCache=true ticketCache=\"/c\"");
    let named = Some(TicketCacheSettings::Named("/c".to_owned()));
    assert_eq!(login(&both), KerberosSettings { ticket_cache: named, ..keytab.clone() });
    let cache = KerberosSettings {
        principal: None,
        ticket_cache: Some(TicketCacheSettings::Default),
        keytab: None,
        ..keytab
    };
    assert_eq!(login("useTicketCache=\"True\""), cache);
}

#[test]
fn the_default_mechanism_is_kerberos() {
    let lines = format!("{NAME}src.kafka.sasl.mechanism=GSSAPI\n");
    assert_eq!(loaded(KEYTAB, &lines), loaded(KEYTAB, NAME));
}

#[test]
fn a_keytab_is_a_file_with_secrets() {
    let connector = format!(
        "name=x\nconnector.class=paralog\nsrc.kafka.bootstrap.servers=a:1\ndest.kafka.bootstrap.servers=b:1\n\
         topic.whitelist=t\nsrc.kafka.security.protocol=SASL_PLAINTEXT\nsrc.kafka.sasl.jaas.config={MODULE} required \
         {KEYTAB};\n{NAME}"
    );
    let (settings, _) = load(&[], &[parse("c", &connector).0]);
    let settings = settings.expect("it loads");
    let files: Vec<String> = settings.secret_files().map(|path| path.display().to_string()).collect();
    assert_eq!(files, ["/k"]);
}

#[test]
fn the_service_name_is_given_once_or_twice_alike() {
    let named = format!("{KEYTAB} serviceName=kafka");
    assert_eq!(loaded(&named, ""), loaded(&named, NAME));
    assert_eq!(loaded(&named, "").1, "");
    says(
        KEYTAB,
        "",
        "error: c:7: `src.kafka.sasl.kerberos.service.name` is missing, which says what the brokers of the source are \
         called in Kerberos\n\
         hint: it is the part before the `/` of their principals, often `kafka`\n",
    );
    says(
        &format!("{KEYTAB} serviceName=broker"),
        NAME,
        "error: c:7: `src.kafka.sasl.jaas.config` has another `serviceName` than \
         `src.kafka.sasl.kerberos.service.name`\n\
         hint: keep one of them\n",
    );
}

#[test]
fn options_that_ask_for_something_else_are_refused_by_name() {
    let refuses = |options: &str, what: &str, hint: &str| {
        let expected = format!("error: c:7: `src.kafka.sasl.jaas.config` {what}\nhint: {hint}\n");
        says(options, NAME, &expected);
    };
    for name in ["useFirstPass", "tryFirstPass", "storePass"] {
        refuses(
            &format!("{KEYTAB} {name}=true"),
            &format!("sets `{name}`: passwords between login modules are not built"),
            "log in with a keytab (useKeyTab=true) or a ticket cache (useTicketCache=true)",
        );
    }
    refuses(
        &format!("{KEYTAB} isInitiator=false"),
        "sets `isInitiator` to false, which gets no tickets",
        "remove it: it is for brokers",
    );
    refuses(
        "keyTab=\"/k\" principal=\"ann@R\" useTicketCache=true",
        "names a `keyTab` without `useKeyTab`",
        "add useKeyTab=true before its last `;`",
    );
    refuses(
        "useKeyTab=true principal=\"ann@R\"",
        "has `useKeyTab`, and no `keyTab`",
        "name the file: keyTab=\"/…\"; no default one is looked for",
    );
    refuses(
        "useKeyTab=true keyTab=\"/k\"",
        "has `useKeyTab`, and no `principal`",
        "add principal=\"name@REALM\" before its last `;`",
    );
    refuses(
        &format!("{KEYTAB} ticketCache=\"/c\""),
        "names a `ticketCache` without `useTicketCache`",
        "add useTicketCache=true before its last `;`",
    );
    refuses(
        "principal=\"ann@R\"",
        "has neither `useKeyTab` nor `useTicketCache`: a password would be asked for, and nobody is there",
        "log in with a keytab (useKeyTab=true) or a ticket cache (useTicketCache=true)",
    );
}

#[test]
fn what_has_no_effect_is_told() {
    says(
        "useTicketCache=true renewTGT=true",
        NAME,
        "warning: c:7: `src.kafka.sasl.jaas.config` sets `renewTGT`, which has no effect: whoever fills the ticket cache \
         renews what is in it\n",
    );
    says(
        &format!("{KEYTAB} passwd=hunter2"),
        NAME,
        "warning: c:7: `src.kafka.sasl.jaas.config` holds options without effect here, at character 114 of the value\n",
    );
    let (_, report) = loaded(KEYTAB, &format!("{NAME}src.kafka.sasl.kerberos.kinit.cmd=/bin/kinit\n"));
    assert_eq!(
        report,
        "info: accepted, though without meaning here: `src.kafka.sasl.kerberos.kinit.cmd` (tickets are got with the \
         keytab before they end, and a ticket cache is read for each log-in)\n"
    );
}

#[test]
fn the_module_of_another_java_is_not_taken_for_it() {
    let connector = "name=x\nconnector.class=paralog\nsrc.kafka.bootstrap.servers=a:1\ndest.kafka.bootstrap.servers=b:1\n\
        topic.whitelist=t\nsrc.kafka.security.protocol=SASL_PLAINTEXT\nsrc.kafka.sasl.mechanism=GSSAPI\n\
        src.kafka.sasl.jaas.config=com.ibm.security.auth.module.Krb5LoginModule required useKeytab=\"/k\";\n";
    let (_, report) = load(&[], &[parse("c", connector).0]);
    assert_eq!(
        report.to_string(),
        format!(
            "error: c:8: `src.kafka.sasl.jaas.config` names the login module `com.ibm.security.auth.module.Krb5LoginModule`, \
             and `src.kafka.sasl.mechanism` is `GSSAPI`\nhint: for that mechanism it begins with {MODULE}\n"
        )
    );
}
