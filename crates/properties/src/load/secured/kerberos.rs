//! `sasl.mechanism=GSSAPI`: who logs in by Kerberos, and with which tickets.
//!
//! What may stand beside what is as in the JDK's Krb5LoginModule (`validateConfiguration`), and the service's name as in
//! Kafka's KerberosLogin; what either asks a person for is refused, since nobody is there.

use std::path::PathBuf;

use super::Connection;
use super::sasl::JAAS;
use crate::jaas::{self, Login};
use crate::report::{Problem, Report};
use crate::security::{KerberosSettings, SaslSettings, TicketCacheSettings};
use crate::value::Secret;

const MODULE: &str = "com.sun.security.auth.module.Krb5LoginModule";
const SERVICE_NAME: &str = "sasl.kerberos.service.name";

/// Options that change nothing here: there is no prompt, nothing is left to others, and files are read when they are needed.
const WITHOUT_A_WORD: [&str; 5] = ["storeKey", "doNotPrompt", "refreshKrb5Config", "clearPass", "debug"];
/// Options for a password that another login module has left, or that is left to one.
const PASSWORDS: [&str; 3] = ["useFirstPass", "tryFirstPass", "storePass"];
const KNOWN: [&str; 8] = [
    "useTicketCache",
    "ticketCache",
    "renewTGT",
    "useKeyTab",
    "keyTab",
    "principal",
    "isInitiator",
    "serviceName",
];

impl Connection<'_> {
    /// Whether the login is one of Kerberos.
    pub(super) fn is_for_kerberos(&self) -> bool {
        let login = self.text(JAAS).and_then(|text| jaas::parse(text).ok());
        login.is_some_and(|login| login.module.as_deref() == Some(MODULE))
    }

    /// `GSSAPI`.
    pub(super) fn kerberos(&self, report: &mut Report) -> Option<SaslSettings> {
        self.refuse_other_handlers(report);
        let login = self.login("GSSAPI", &[MODULE], report)?;
        let is_known =
            |name: &str| KNOWN.contains(&name) || WITHOUT_A_WORD.contains(&name) || PASSWORDS.contains(&name);
        self.tell_options(&login, &is_known, report);
        if is_set(&login, "renewTGT") {
            let message = format!(
                "{} sets `renewTGT`, which has no effect: whoever fills the ticket cache renews what is in it",
                self.key(JAAS)
            );
            report.push(Problem::warning(self.place(JAAS), message));
        }
        let mut wrongs = self.wrongs(&login);
        let service_name = self.service_name(&login).map_err(|wrong| wrongs.push(wrong)).ok();
        for (message, hint) in &wrongs {
            self.refuse(JAAS, message, hint, report);
        }
        let keytab = text(&login, "keyTab").map(|path| path.strip_prefix("FILE:").unwrap_or(path));
        let settings = KerberosSettings {
            service_name: service_name?,
            principal: text(&login, "principal").map(str::to_owned),
            ticket_cache: is_set(&login, "useTicketCache").then(|| match text(&login, "ticketCache") {
                Some(name) => TicketCacheSettings::Named(name.to_owned()),
                None => TicketCacheSettings::Default,
            }),
            keytab: keytab.map(PathBuf::from),
        };
        wrongs.is_empty().then_some(SaslSettings::Gssapi(settings))
    }

    /// What keeps the login from being made, each with what to do.
    fn wrongs(&self, login: &Login) -> Vec<(String, String)> {
        let key = self.key(JAAS);
        let has_keytab = is_set(login, "useKeyTab");
        let has_cache = is_set(login, "useTicketCache");
        let mut wrongs = Vec::new();
        let mut wrong = |what: &str, hint: &str| wrongs.push((format!("{key} {what}"), hint.to_owned()));
        for name in PASSWORDS.iter().filter(|name| is_set(login, name)) {
            let what = format!("sets `{name}`: passwords between login modules are not built");
            wrong(&what, "log in with a keytab (useKeyTab=true) or a ticket cache (useTicketCache=true)");
        }
        if login.option("isInitiator").is_some() && !is_set(login, "isInitiator") {
            wrong("sets `isInitiator` to false, which gets no tickets", "remove it: it is for brokers");
        }
        match (has_keytab, text(login, "keyTab")) {
            (false, Some(_)) => {
                wrong("names a `keyTab` without `useKeyTab`", "add useKeyTab=true before its last `;`");
            }
            (true, None) => {
                wrong(
                    "has `useKeyTab`, and no `keyTab`",
                    "name the file: keyTab=\"/…\"; no default one is looked for",
                );
            }
            _ => {}
        }
        if has_keytab && text(login, "principal").is_none() {
            wrong("has `useKeyTab`, and no `principal`", "add principal=\"name@REALM\" before its last `;`");
        }
        if !has_cache && text(login, "ticketCache").is_some() {
            wrong(
                "names a `ticketCache` without `useTicketCache`",
                "add useTicketCache=true before its last `;`",
            );
        }
        if !has_keytab && !has_cache {
            let what = "has neither `useKeyTab` nor `useTicketCache`: a password would be asked for, and nobody is there";
            wrong(what, "log in with a keytab (useKeyTab=true) or a ticket cache (useTicketCache=true)");
        }
        wrongs
    }

    /// The brokers' service name, or why there is none.
    fn service_name(&self, login: &Login) -> Result<String, (String, String)> {
        let key = self.key(SERVICE_NAME);
        match (text(login, "serviceName"), self.text(SERVICE_NAME)) {
            (Some(one), Some(other)) if one != other => Err((
                format!("{} has another `serviceName` than {key}", self.key(JAAS)),
                "keep one of them".to_owned(),
            )),
            (Some(name), _) | (None, Some(name)) => Ok(name.to_owned()),
            (None, None) => Err((
                format!(
                    "{key} is missing, which says what the brokers of the {} are called in Kerberos",
                    self.side
                ),
                "it is the part before the `/` of their principals, often `kafka`".to_owned(),
            )),
        }
    }
}

/// As the JDK reads it.
fn is_set(login: &Login, name: &str) -> bool {
    login.option(name).is_some_and(|value| value.reveal().eq_ignore_ascii_case("true"))
}

fn text<'a>(login: &'a Login, name: &str) -> Option<&'a str> {
    login.option(name).map(Secret::reveal).filter(|value| !value.is_empty())
}
