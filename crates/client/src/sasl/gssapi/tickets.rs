//! Where tickets come from: a cache that somebody else fills, or the KDC, asked with a keytab.
//!
//! ```text
//! ticket cache ──read for each login──┐
//!                                     ├─▶ ticket-granting ticket ──KDC──▶ ticket for a broker
//! keytab ──KDC──▶ kept, till it is old ┘                                 kept beside it
//! ```
//! What is kept stays in memory: nobody else's cache is touched. Whoever calls is on a thread that may block; a KDC that is
//! silent is given up after [`KDC_WAIT`] for each try.
//!
//! Source: the JDK's Krb5LoginModule for the order; Kafka's KerberosLogin for when a ticket is old.

use std::collections::HashMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use krb5::ccache::same_principal;
use krb5::{CCache, CacheName, ClientError, ConfigError, Credentials, KdcClient, Krb5Conf, Principal};

use tracing::warn;

use super::keytab;
use crate::sasl::printable;
use crate::{KerberosOptions, TicketCache};

/// For one of the up to four tries that one KDC gets, by UDP and TCP: all of them end within the usual connect time-out.
const KDC_WAIT: Duration = Duration::from_secs(2);

/// A larger file is no ticket cache.
const CACHE_BYTES_MAX: u64 = 16 << 20;

/// After so many hundredths of its life a ticket is replaced (`sasl.kerberos.ticket.renew.window.factor` by default).
const OLD_AFTER_PERCENT: i64 = 80;

/// A KDC that refused a principal is not asked again for so long, then for twice as long, up to a minute: principals get
/// locked.
const REFUSED_FOR_S: i64 = 5;
const REFUSED_FOR_S_MAX: i64 = 60;

/// The tickets of one cluster's logins. Clones are the same.
#[derive(Clone, Default)]
pub(in crate::sasl) struct Tickets(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    granting: Option<Credentials>,
    /// Got with it, by service.
    services: HashMap<Principal, Credentials>,
    /// When the keytab got no ticket last, for how long the KDC is left alone, and why.
    refused: Option<(i64, i64, String)>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets([hidden])")
    }
}

/// What `krb5.conf` and the options come to.
struct Plan<'a> {
    options: &'a KerberosOptions,
    conf: Krb5Conf,
    /// `None` only where a ticket cache says who we are.
    principal: Option<Principal>,
    now_s: i64,
}

impl Tickets {
    /// A ticket for the service at the broker on `host`. Asks the KDC for what is not kept.
    ///
    /// # Errors
    /// In words: what is missing, and what to do about it.
    pub(super) fn for_broker(
        &self,
        options: &KerberosOptions,
        host: &str,
        now_s: i64,
    ) -> Result<Credentials, String> {
        let plan = Plan::new(options, now_s)?;
        let service = Principal::host_service(&options.service_name, host, &plan.conf);
        self.anew(&plan, &service).or_else(|why| {
            // Which is valid for some time yet, and needs no KDC.
            let kept = self.lock().services.get(&service).filter(|ticket| now_s < ticket.endtime).cloned();
            if kept.is_some() {
                warn!(
                    error = why,
                    "no new ticket for {service}, going on with the last, which is still valid"
                );
            }
            kept.ok_or(why)
        })
    }

    /// A ticket for the service: one that is kept and young, or another.
    fn anew(&self, plan: &Plan<'_>, service: &Principal) -> Result<Credentials, String> {
        let now_s = plan.now_s;
        let granting = self.granting(plan)?;
        {
            let kept = self.lock();
            let is_ours = |ticket: &&Credentials| same_principal(&ticket.client, &granting.client);
            let ticket = kept.services.get(service).filter(is_ours).filter(|ticket| is_young(ticket, now_s));
            if let Some(ticket) = ticket {
                return Ok(ticket.clone());
            }
        }
        let ticket = plan
            .kdc(&granting.client.realm)?
            .service_ticket(&granting, service)
            .map_err(|error| plan.refused(&error, &granting.client, service))?;
        let mut kept = self.lock();
        kept.granting = Some(granting);
        kept.services.insert(service.clone(), ticket.clone());
        Ok(ticket)
    }

    /// A broker has refused a ticket: the next login gets another for it.
    pub(in crate::sasl) fn forget(&self) {
        self.lock().services.clear();
    }

    /// Whether there is all that a ticket can be got with, as far as files say it: no KDC is asked.
    pub(in crate::sasl) fn check(&self, options: &KerberosOptions, now_ms: u64) -> Result<(), String> {
        let plan = Plan::new(options, seconds(now_ms))?;
        match plan.cached() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => plan.keys().map(drop),
            Err(why) => plan.keys().map(drop).map_err(|error| both(&why, &error, options)),
        }
    }

    fn granting(&self, plan: &Plan<'_>) -> Result<Credentials, String> {
        let why = match plan.cached() {
            Ok(Some(ticket)) => return Ok(ticket),
            Ok(None) => None,
            Err(why) => Some(why),
        };
        let own = |ticket: &Credentials| {
            plan.principal.as_ref().is_some_and(|principal| same_principal(&ticket.client, principal))
        };
        let kept = self.lock().granting.clone().filter(|ticket| own(ticket) && is_young(ticket, plan.now_s));
        if let Some(ticket) = kept {
            return Ok(ticket);
        }
        self.log_in(plan).map_err(|error| match why {
            Some(why) => both(&why, &error, plan.options),
            None => error,
        })
    }

    /// A ticket by the keytab, unless that was refused just now.
    fn log_in(&self, plan: &Plan<'_>) -> Result<Credentials, String> {
        if let Some((since_s, length_s, why)) = &self.lock().refused
            && (0..*length_s).contains(&plan.now_s.saturating_sub(*since_s))
        {
            return Err(why.clone());
        }
        let got = plan.log_in();
        let mut kept = self.lock();
        match &got {
            // Kept from here on, whether a ticket for the broker comes of it or not.
            Ok(ticket) => {
                kept.granting = Some(ticket.clone());
                kept.refused = None;
            }
            Err(why) => {
                let last = kept.refused.take().map(|(_, length_s, _)| length_s.saturating_mul(2));
                let length_s = last.unwrap_or(REFUSED_FOR_S).min(REFUSED_FOR_S_MAX);
                kept.refused = Some((plan.now_s, length_s, why.clone()));
            }
        }
        got
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why neither the cache nor the keytab gives a ticket; the former alone where there is no keytab.
fn both(of_cache: &str, of_keytab: &str, options: &KerberosOptions) -> String {
    match options.keytab {
        Some(_) => format!("{of_cache}; and {of_keytab}"),
        None => of_cache.to_owned(),
    }
}

impl Plan<'_> {
    fn new(options: &KerberosOptions, now_s: i64) -> Result<Plan<'_>, String> {
        let conf = Krb5Conf::load_default()
            .map_err(|error| format!("the configuration of Kerberos cannot be used: {error}"))?;
        let principal = options.principal.as_deref().map(|name| principal(name, &conf)).transpose()?;
        Ok(Plan { options, conf, principal, now_s })
    }

    /// The cache's ticket-granting ticket; `None` if no cache is to be read.
    fn cached(&self) -> Result<Option<Credentials>, String> {
        let Some(wanted) = &self.options.ticket_cache else { return Ok(None) };
        let name = match wanted {
            TicketCache::Default => CacheName::default(&self.conf),
            TicketCache::Named(name) => CacheName::parse_with(name, &self.conf),
        };
        let name = name.map_err(|error| format!("the ticket cache cannot be found: {error}"))?;
        if let Ok(path) = name.path() {
            check_file(&path, &name)?;
        }
        let cache = name.read().map_err(|error| {
            format!("the ticket cache {name} cannot be read: {error}; get a ticket with kinit")
        })?;
        from_cache(&cache, self.principal.as_ref(), self.now_s)
            .map(Some)
            .map_err(|what| format!("the ticket cache {name} {what}"))
    }

    /// Who logs in with a keytab, and the keys for it.
    fn keys(&self) -> Result<(&Principal, krb5::Keytab), String> {
        let (Some(path), Some(principal)) = (&self.options.keytab, &self.principal) else {
            return Err(
                "there is neither a keytab with a principal nor a ticket cache to log in with".to_owned()
            );
        };
        Ok((principal, keytab::load(path, principal)?))
    }

    fn log_in(&self) -> Result<Credentials, String> {
        let (principal, keytab) = self.keys()?;
        let granter = Principal::krbtgt(&principal.realm);
        self.kdc(&principal.realm)?
            .login_with_keytab(principal, &keytab)
            .map_err(|error| self.refused(&error, principal, &granter))
    }

    fn kdc(&self, realm: &str) -> Result<KdcClient, String> {
        let kdc = KdcClient::from_config(&self.conf, realm).map_err(|error| self.no_kdc(realm, &error))?;
        Ok(kdc.with_timeout(KDC_WAIT))
    }

    fn no_kdc(&self, realm: &str, error: &ConfigError) -> String {
        format!(
            "the KDC of `{realm}` is not known: {error}; name it in krb5.conf, under [realms], or name the right realm"
        )
    }

    /// What the KDC's no to a request of `client` for a ticket for `service` means.
    fn refused(&self, error: &ClientError, client: &Principal, service: &Principal) -> String {
        let realm = &client.realm;
        // Some of it is what an unknown network says.
        let said = || printable(&error.to_string());
        let other_key = || {
            format!(
                "the KDC of `{realm}` has another key of `{client}`: it was changed since the keytab was made; export it \
                 anew"
            )
        };
        match error {
            ClientError::Unreachable { last, .. } => {
                let why = match last.kind() {
                    // As the system calls the end of a wait.
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => "it is silent".to_owned(),
                    _ => last.to_string(),
                };
                format!(
                    "no KDC of `{realm}` answers ({why}): is it up, and is it the one in krb5.conf, under [realms]?"
                )
            }
            ClientError::Config(error) => self.no_kdc(realm, error),
            ClientError::Kdc { code, .. } => match *code {
                C_PRINCIPAL_UNKNOWN => {
                    format!("the KDC of `{realm}` does not know `{client}`: check `principal`")
                }
                S_PRINCIPAL_UNKNOWN => format!(
                    "the KDC does not know the service `{}`: check `sasl.kerberos.service.name`, and that the brokers go \
                     by this host name in Kerberos",
                    service.name()
                ),
                REVOKED => format!("the KDC of `{realm}` has locked `{client}`: ask who runs it"),
                KEY_EXPIRED => format!(
                    "the key of `{client}` has expired: have it changed, and export it into the keytab"
                ),
                PREAUTH_FAILED => other_key(),
                ETYPE_NOT_SUPPORTED => format!(
                    "the KDC of `{realm}` has no AES key in common with us for `{client}` and `{}`: give both one",
                    service.name()
                ),
                SKEW => format!(
                    "the clock of the KDC of `{realm}` and this machine's are too far apart: set this one's"
                ),
                _ => format!("the KDC of `{realm}` refuses a ticket to `{client}`: {}", said()),
            },
            // A KDC that wants no proof beforehand answers in the key that it has.
            ClientError::Crypto(_) if *service == Principal::krbtgt(realm) => other_key(),
            _ => format!("no ticket for `{client}` comes of what the KDC of `{realm}` answers: {}", said()),
        }
    }
}

// RFC 4120, 7.5.9.
const C_PRINCIPAL_UNKNOWN: i32 = 6;
const S_PRINCIPAL_UNKNOWN: i32 = 7;
const ETYPE_NOT_SUPPORTED: i32 = 14;
const REVOKED: i32 = 18;
const KEY_EXPIRED: i32 = 23;
const PREAUTH_FAILED: i32 = 24;
const SKEW: i32 = 37;

/// `name`, in the default realm if it says none.
fn principal(name: &str, conf: &Krb5Conf) -> Result<Principal, String> {
    let read = match name.split_once('@') {
        Some(_) => Principal::parse(name),
        None => match conf.default_realm() {
            Some(realm) => Principal::parse_in_realm(name, realm),
            None => {
                return Err(format!(
                    "`{name}` says no realm, and krb5.conf no default_realm: write the principal as {name}@REALM"
                ));
            }
        },
    };
    read.map_err(|_| format!("`{name}` is no principal: it has the form name@REALM or name/instance@REALM"))
}

fn check_file(path: &Path, name: &CacheName) -> Result<(), String> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() || metadata.len() > CACHE_BYTES_MAX => {
            Err(format!("{name} is no file, or too large to be a ticket cache"))
        }
        Err(error) => {
            Err(format!("there is no ticket cache {name} to be read ({error}): get a ticket with kinit"))
        }
        Ok(_) => Ok(()),
    }
}

/// The ticket-granting ticket in `cache`, which must be that of `wanted` if that is given.
fn from_cache(cache: &CCache, wanted: Option<&Principal>, now_s: i64) -> Result<Credentials, String> {
    let owner = &cache.principal;
    if let Some(wanted) = wanted.filter(|wanted| !same_principal(wanted, owner)) {
        return Err(format!("is that of `{owner}`, not of `{wanted}`: get a ticket with kinit {wanted}"));
    }
    if let Some(ticket) = cache.tgt(now_s) {
        return match ticket.is_invalid() {
            false => Ok(ticket),
            true => Err(format!("holds a ticket of `{owner}` that is not valid yet: get another with kinit")),
        };
    }
    let granter = Principal::krbtgt(&owner.realm);
    let ended = cache.credentials().filter(|ticket| same_principal(&ticket.server, &granter));
    Err(match ended.map(|ticket| ticket.endtime).max() {
        Some(ended) => format!(
            "holds a ticket of `{owner}` that expired {} s ago by this machine's clock: get another with kinit",
            now_s - ended
        ),
        None => format!("holds no ticket-granting ticket of `{owner}`: get one with kinit"),
    })
}

/// Whether there is no need yet for another in its place.
fn is_young(ticket: &Credentials, now_s: i64) -> bool {
    let from = ticket.starttime.unwrap_or(ticket.authtime);
    let life = ticket.endtime.saturating_sub(from);
    now_s.saturating_sub(from).saturating_mul(100) < life.saturating_mul(OLD_AFTER_PERCENT)
}

/// Whole seconds of a time in milliseconds.
pub(super) fn seconds(now_ms: u64) -> i64 {
    i64::try_from(now_ms / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use krb5::Key;

    use super::*;

    fn cache() -> CCache {
        CCache::decode(include_bytes!("../../../tests/data/kerberos/ann.ccache")).unwrap()
    }

    fn options() -> KerberosOptions {
        KerberosOptions {
            service_name: "kafka".to_owned(),
            principal: Some("ann@PARALOG.TEST".to_owned()),
            ticket_cache: None,
            keytab: None,
        }
    }

    fn named(principal: &str) -> Principal {
        Principal::parse(principal).unwrap()
    }

    #[test]
    fn a_ticket_cache_gives_its_ticket_to_its_owner_while_it_is_valid() {
        let cache = cache();
        let ticket = from_cache(&cache, None, 0).unwrap();
        assert_eq!(ticket.client.to_string(), "ann@PARALOG.TEST");
        assert!(from_cache(&cache, Some(&named("ann@PARALOG.TEST")), 0).is_ok());
        let check = |cache: &CCache, wanted: Option<&Principal>, now_s: i64, expected: &str| {
            assert_eq!(from_cache(cache, wanted, now_s).map(|_| ()).unwrap_err(), expected);
        };
        check(
            &cache,
            Some(&named("bob@PARALOG.TEST")),
            0,
            "is that of `ann@PARALOG.TEST`, not of `bob@PARALOG.TEST`: get a ticket with kinit bob@PARALOG.TEST",
        );
        check(
            &cache,
            None,
            ticket.endtime + 12,
            "holds a ticket of `ann@PARALOG.TEST` that expired 12 s ago by this machine's clock: get another with kinit",
        );
        check(
            &CCache::new(named("ann@PARALOG.TEST")),
            None,
            0,
            "holds no ticket-granting ticket of `ann@PARALOG.TEST`: get one with kinit",
        );
    }

    #[test]
    fn a_ticket_is_replaced_after_four_fifths_of_its_life() {
        let ticket = from_cache(&cache(), None, 0).unwrap();
        let life = ticket.endtime - ticket.authtime;
        assert!(is_young(&ticket, ticket.authtime + life * 4 / 5 - 1));
        assert!(!is_young(&ticket, ticket.authtime + life * 4 / 5 + 1));
        assert!(!is_young(&ticket, i64::MAX));
    }

    #[test]
    fn a_principal_without_a_realm_is_in_the_default_one() {
        let conf = Krb5Conf::parse("[libdefaults]\n default_realm = R\n").unwrap();
        assert_eq!(principal("ann/desk", &conf).unwrap(), named("ann/desk@R"));
        assert_eq!(principal("ann@S", &conf).unwrap(), named("ann@S"));
        let unknown = principal("ann", &Krb5Conf::empty()).unwrap_err();
        assert!(unknown.contains("write the principal as ann@REALM"), "{unknown}");
        for wrong in ["", "@", "ann@", "/@R", "a@b@c"] {
            let error = principal(wrong, &conf).unwrap_err();
            assert!(error.contains("is no principal"), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_the_kdc_says_is_told_with_what_to_do() {
        let options = options();
        let plan = Plan { options: &options, conf: Krb5Conf::empty(), principal: None, now_s: 0 };
        let (ann, kafka) = (named("ann@R"), named("kafka/broker@R"));
        let check = |code: i32, expected: &str| {
            let error = ClientError::Kdc { code, text: None };
            let told = plan.refused(&error, &ann, &kafka);
            assert!(told.contains(expected), "{code}: {told}");
        };
        check(6, "does not know `ann@R`: check `principal`");
        check(7, "does not know the service `kafka/broker`: check `sasl.kerberos.service.name`");
        check(14, "no AES key in common");
        check(18, "has locked `ann@R`");
        check(23, "has expired");
        check(24, "was changed since the keytab was made");
        check(37, "too far apart");
        check(12, "KDC_ERR_POLICY");
        let hostile = ClientError::Kdc { code: 60, text: Some("a\u{1b}[2Jb".to_owned()) };
        assert!(plan.refused(&hostile, &ann, &kafka).ends_with("a[2Jb"));
        let unreadable = Key::new(18, Vec::new()).unwrap_err();
        let told = plan.refused(&unreadable.into(), &ann, &Principal::krbtgt("R"));
        assert!(told.contains("was changed since the keytab was made"), "{told}");
        let last = ErrorKind::ConnectionRefused.into();
        let told = plan.refused(&ClientError::Unreachable { realm: "R".to_owned(), last }, &ann, &kafka);
        assert!(told.starts_with("no KDC of `R` answers (connection refused): is it up"), "{told}");
        let last = ErrorKind::WouldBlock.into();
        let told = plan.refused(&ClientError::Unreachable { realm: "R".to_owned(), last }, &ann, &kafka);
        assert!(told.starts_with("no KDC of `R` answers (it is silent): "), "{told}");
        assert!(plan.kdc("R").unwrap_err().contains("name it in krb5.conf"));
    }

    #[test]
    fn a_kdc_that_refused_the_principal_is_left_alone_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let options = KerberosOptions { keytab: Some(folder.path().join("none")), ..options() };
        let tickets = Tickets::default();
        let asked_at = |now_s: i64| {
            let plan =
                Plan { principal: Some(named("ann@R")), conf: Krb5Conf::empty(), options: &options, now_s };
            tickets.granting(&plan).map(|_| ()).unwrap_err()
        };
        tickets.lock().refused = Some((100, REFUSED_FOR_S, "no".to_owned()));
        assert_eq!((asked_at(100), asked_at(104)), ("no".to_owned(), "no".to_owned()));
        for now_s in [105, 99] {
            tickets.lock().refused = Some((100, REFUSED_FOR_S, "no".to_owned()));
            assert!(
                asked_at(now_s).contains("cannot be read"),
                "it is tried again, also where the clock went back"
            );
        }
    }

    #[test]
    fn where_neither_cache_nor_keytab_gives_a_ticket_both_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let none = |name: &str| folder.path().join(name);
        let cached = KerberosOptions {
            ticket_cache: Some(TicketCache::Named(none("x.ccache").display().to_string())),
            ..options()
        };
        let told = Tickets::default().check(&cached, 0).unwrap_err();
        assert!(
            told.starts_with("there is no ticket cache FILE:") && told.ends_with("get a ticket with kinit"),
            "{told}"
        );
        let keyed = KerberosOptions { keytab: Some(none("x.keytab")), ..cached };
        let told = Tickets::default().check(&keyed, 0).unwrap_err();
        assert!(
            told.contains("x.ccache") && told.contains("; and the keytab ") && told.contains("x.keytab"),
            "{told}"
        );
        std::fs::write(none("x.ccache"), include_bytes!("../../../tests/data/kerberos/ann.ccache")).unwrap();
        assert_eq!(Tickets::default().check(&keyed, 0), Ok(()), "a ticket does without the keytab");
        std::fs::write(none("x.ccache"), "password").unwrap();
        let told = Tickets::default().check(&KerberosOptions { keytab: None, ..keyed }, 0).unwrap_err();
        assert!(told.contains("cannot be read") && !told.contains("password"), "{told}");
    }
}
