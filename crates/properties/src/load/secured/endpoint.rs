//! `OAUTHBEARER` with an identity provider: who we are there, and how it is asked.
//!
//! The rules are those of Kafka's clients (`ConfigOrJaas`, `JaasOptionsUtils`, `DefaultJwtRetriever`): a property wins
//! over the option of the login that it has replaced, and TLS with the provider is set up by `ssl.…` among the options.

use std::time::Duration;

use super::{Connection, Given, asks_for_something};
use crate::entry::Entry;
use crate::jaas::Login;
use crate::report::{Problem, Report};
use crate::security::{EndpointSettings, TlsSettings};
use crate::table::{Feature, FileKind, Status, lookup};
use crate::value::{Secret, trim};

const JAAS: &str = "sasl.jaas.config";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";
const RETRIEVER: &str = "sasl.oauthbearer.jwt.retriever.class";
const FACTOR: &str = "sasl.login.refresh.window.factor";
const JITTER: &str = "sasl.login.refresh.window.jitter";
const BACKOFF: &str = "sasl.login.retry.backoff.ms";
const BACKOFF_MAX: &str = "sasl.login.retry.backoff.max.ms";
const HOST: &str = "ssl.endpoint.identification.algorithm";

/// What has an effect only where a provider is asked.
pub(super) const OF_PROVIDERS: [&str; 14] = [
    "sasl.login.connect.timeout.ms",
    "sasl.login.read.timeout.ms",
    BACKOFF,
    BACKOFF_MAX,
    FACTOR,
    JITTER,
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.buffer.seconds",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.header.urlencode",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.scope.claim.name",
    "sasl.oauthbearer.sub.claim.name",
];

/// Whether an option of the login is for the provider at `url`.
pub(super) fn is_option(name: &str, url: &str) -> bool {
    matches!(name, "clientId" | "clientSecret" | "scope") || name.starts_with("ssl.") && !is_plain(url)
}

/// Without TLS.
fn is_plain(url: &str) -> bool {
    url.to_ascii_lowercase().starts_with("http:")
}

impl Connection<'_> {
    /// Where `sasl.oauthbearer.token.endpoint.url` names a provider; `None` where it cannot be asked, which is told.
    pub(super) fn endpoint(&self, url: &str, login: &Login, report: &mut Report) -> Option<EndpointSettings> {
        self.refuse_assertions(report);
        self.refuse_retriever(".FileJwtRetriever", "names no file", "remove it to ask the provider", report);
        if is_plain(url) {
            let message = format!(
                "{} is not encrypted: whoever is on the way can read the client's secret and the tokens",
                self.key(ENDPOINT)
            );
            report
                .push(Problem::warning(self.place(ENDPOINT), message).with_hint("better write `https://…`"));
        }
        let of = |name: &str, option: &str, report: &mut Report| {
            let name = format!("sasl.oauthbearer.{name}");
            let given =
                login.option(option).map(|value| trim(value.reveal())).filter(|value| !value.is_empty());
            match (self.text(&name), given) {
                (Some(value), Some(_)) => {
                    let message = format!(
                        "{} and `{option}` of {} are given: the former counts",
                        self.key(&name),
                        self.key(JAAS)
                    );
                    report.push(Problem::warning(self.place(&name), message));
                    Some(value.to_owned())
                }
                (Some(value), None) => Some(value.to_owned()),
                (None, given) => given.map(str::to_owned),
            }
        };
        let client_id = of("client.credentials.client.id", "clientId", report);
        let client_secret = of("client.credentials.client.secret", "clientSecret", report);
        let scope = of("scope", "scope", report);
        for (value, name, option) in [
            (&client_id, "client.credentials.client.id", "clientId"),
            (&client_secret, "client.credentials.client.secret", "clientSecret"),
        ] {
            if value.is_none() {
                let message = format!("{} has no `{option}`, which the provider asks for", self.key(JAAS));
                let hint = format!(
                    "add {option}=\"…\" before its last `;`, or write {}",
                    self.key(&format!("sasl.oauthbearer.{name}")).trim_matches('`')
                );
                self.refuse(JAAS, &message, &hint, report);
            }
        }
        let tls = self.tls_of_options(login, report);
        let (retry_backoff, retry_backoff_max) =
            (self.millis(BACKOFF, 100), self.millis(BACKOFF_MAX, 10_000));
        if retry_backoff_max < retry_backoff {
            let message = format!("{} is less than {}", self.key(BACKOFF_MAX), self.key(BACKOFF));
            self.refuse(BACKOFF_MAX, &message, "write at least as much", report);
        }
        let named = |name: &str, default: &str| self.text(name).unwrap_or(default).to_owned();
        Some(EndpointSettings {
            url: url.to_owned(),
            client_id: client_id?,
            client_secret: Secret::new(client_secret?),
            scope,
            urlencode: self
                .text("sasl.oauthbearer.header.urlencode")
                .is_some_and(|value| value.eq_ignore_ascii_case("true")),
            scope_claim: named("sasl.oauthbearer.scope.claim.name", "scope"),
            sub_claim: named("sasl.oauthbearer.sub.claim.name", "sub"),
            tls,
            connect_timeout: self.wait("sasl.login.connect.timeout.ms"),
            read_timeout: self.wait("sasl.login.read.timeout.ms"),
            retry_backoff,
            retry_backoff_max,
            refresh_window_factor_ppm: self.millionths(FACTOR, (500_000, 1_000_000), 800_000, report),
            refresh_window_jitter_ppm: self.millionths(JITTER, (0, 250_000), 50_000, report),
            refresh_min_period: Duration::from_secs(
                self.whole("sasl.login.refresh.min.period.seconds").unwrap_or(60),
            ),
            refresh_buffer: Duration::from_secs(
                self.whole("sasl.login.refresh.buffer.seconds").unwrap_or(300),
            ),
        })
    }

    /// Refuses a class of Kafka's that does not do what `sasl.oauthbearer.token.endpoint.url` is for.
    pub(super) fn refuse_retriever(&self, class: &str, why: &str, hint: &str, report: &mut Report) {
        if self.text(RETRIEVER).is_some_and(|given| given.ends_with(class)) {
            let (key, shown) = (self.key(RETRIEVER), self.shown(RETRIEVER));
            let message = format!("{key} is `{shown}`, and {} {why}", self.key(ENDPOINT));
            self.refuse(RETRIEVER, &message, hint, report);
        }
    }

    /// What would show who we are in another way than by a secret: ignored, it would change who logs in.
    fn refuse_assertions(&self, report: &mut Report) {
        for given in self.by_name.values().filter(|given| asks_for_something(given)) {
            if let Status::NotBuilt { feature: feature @ Feature::Assertions, .. } =
                given.found.property.status
            {
                let message = format!(
                    "`{}` is given: {} are not built yet, only a client's id and its secret",
                    given.entry.key,
                    feature.as_str()
                );
                report.push(
                    Problem::error(given.entry.place(), message).with_hint("remove it to log in without"),
                );
            }
        }
    }

    /// TLS with the provider, by the options `ssl.…` of the login. Its certificate is for its host in any case.
    fn tls_of_options(&self, login: &Login, report: &mut Report) -> TlsSettings {
        let place = self.place(JAAS);
        let key = self.key(JAAS);
        let options = login.options().filter(|(name, ..)| name.starts_with("ssl."));
        let entries: Vec<(&str, Entry)> = options
            .map(|(name, value, _)| {
                let entry = Entry::new(format!("{}: {name}", key.trim_matches('`')), value.reveal(), &place);
                // Nothing that stands in a login is shown.
                (name, Entry { reference: Some("[hidden]".into()), ..entry })
            })
            .collect();
        let mut provider = Connection::new("identity provider", self.prefix);
        let mut idle = false;
        for (name, entry) in &entries {
            let found = lookup(FileKind::Worker, name).filter(|found| found.is_security() && *name != HOST);
            match found {
                Some(found) => {
                    let given = Given { entry, found, layer: 0 };
                    if let Status::NotBuilt { feature: Feature::JavaSecurity, .. } = found.property.status
                        && asks_for_something(&given)
                    {
                        let message = format!(
                            "`{}`: {} are not loaded here",
                            entry.key,
                            Feature::JavaSecurity.as_str()
                        );
                        self.refuse(JAAS, &message, "remove it to connect without", report);
                    }
                    provider.by_name.insert(name, given);
                }
                None => idle = true,
            }
        }
        if idle {
            let message = format!("{key} holds options `ssl.…` that have no effect on TLS with the provider");
            report.push(Problem::warning(place, message));
        }
        provider.tls(report)
    }

    fn whole(&self, name: &str) -> Option<u64> {
        // That it is a number was seen, and told, when it was read.
        self.text(name).and_then(|value| value.parse().ok())
    }

    fn millis(&self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.whole(name).unwrap_or(default))
    }

    /// A time-out; Java takes 0 for none.
    fn wait(&self, name: &str) -> Option<Duration> {
        const FOR_EVER: Duration = Duration::from_secs(3600);
        self.whole(name).map(|ms| if ms == 0 { FOR_EVER } else { Duration::from_millis(ms) })
    }

    /// A part of one, in millionths, within `range`.
    fn millionths(&self, name: &str, (min, max): (u32, u32), default: u32, report: &mut Report) -> u32 {
        let Some(text) = self.text(name) else { return default };
        let part = text.trim_end_matches(['d', 'D', 'f', 'F']).parse::<f64>();
        let Ok(part) = part else { return default };
        let millionths = part * 1e6;
        if millionths < f64::from(min) || millionths > f64::from(max) {
            let message = format!("{} is `{}`, outside its range", self.key(name), self.shown(name));
            let hint = format!("it takes a number from {} to {}", f64::from(min) / 1e6, f64::from(max) / 1e6);
            self.refuse(name, &message, &hint, report);
            return default;
        }
        millionths.round() as u32
    }
}
