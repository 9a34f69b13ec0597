//! `sasl.*` of a connection that logs in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Connection, MECHANISM, endpoint};
use crate::jaas::{self, Login};
use crate::report::{Problem, Report};
use crate::security::{ClaimSettings, SaslSettings, TokenSettings};
use crate::value::Secret;

pub(super) const JAAS: &str = "sasl.jaas.config";
const HANDLER: &str = "sasl.login.callback.handler.class";
const ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";

/// They only keep what they are told, so that Kafka takes either for the other's mechanism.
const USER_MODULES: [&str; 2] = [
    "org.apache.kafka.common.security.plain.PlainLoginModule",
    "org.apache.kafka.common.security.scram.ScramLoginModule",
];
const TOKEN_MODULE: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";

const DEFAULT_HANDLER: &str =
    "org.apache.kafka.common.security.authenticator.AbstractLogin$DefaultLoginCallbackHandler";
const UNSECURED_HANDLER: &str = "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler";
/// By the package of before and after Kafka 3.4.
const TOKEN_HANDLERS: [&str; 2] = [
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
];

impl Connection<'_> {
    /// The login; `None` where it cannot be made, which is told.
    pub(super) fn sasl(&self, mechanism: &str, report: &mut Report) -> Option<SaslSettings> {
        const KNOWN: &str =
            "it takes `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`, `GSSAPI` or `AWS_MSK_IAM`";
        self.refuse_iam_handler(mechanism, report);
        match mechanism {
            "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512" => self.user(mechanism, report),
            "OAUTHBEARER" => self.bearer(report),
            "GSSAPI" if self.text(MECHANISM).is_none() && !self.is_for_kerberos() => {
                let message = format!(
                    "{} is missing, and {} is not for Kafka's default, `GSSAPI` (Kerberos)",
                    self.key(MECHANISM),
                    self.key(JAAS)
                );
                self.refuse(MECHANISM, &message, KNOWN, report);
                None
            }
            "GSSAPI" => self.kerberos(report),
            "AWS_MSK_IAM" => self.aws_iam(report),
            _ => {
                let message =
                    format!("{} is `{}`, which is not known", self.key(MECHANISM), self.shown(MECHANISM));
                self.refuse(MECHANISM, &message, KNOWN, report);
                None
            }
        }
    }

    /// Reads the login; says what is wrong with it by its place alone.
    pub(super) fn login(&self, mechanism: &str, modules: &[&str], report: &mut Report) -> Option<Login> {
        let example = modules.last().copied().unwrap_or_default();
        let Some(text) = self.text(JAAS) else {
            let message =
                format!("{} is missing, which says who logs in to the {}", self.key(JAAS), self.side);
            let hint = "write it as for Kafka's clients; a file that `java.security.auth.login.config` (`KAFKA_OPTS`) \
                        names is not read";
            self.refuse(JAAS, &message, hint, report);
            return None;
        };
        let login = match jaas::parse(text) {
            Ok(login) => login,
            Err(error) => {
                let message = format!("{} cannot be read: {error}", self.key(JAAS));
                let hint = format!("its form is: {example} required option=\"value\" option=\"value\";");
                self.refuse(JAAS, &message, &hint, report);
                return None;
            }
        };
        match login.module.as_deref() {
            Some(module) if modules.contains(&module) => Some(login),
            module => {
                let what = match module {
                    Some(module) => format!("names the login module `{module}`"),
                    None => "does not begin with the class of a login module".to_owned(),
                };
                let message =
                    format!("{} {what}, and {} is `{mechanism}`", self.key(JAAS), self.key(MECHANISM));
                self.refuse(JAAS, &message, &format!("for that mechanism it begins with {example}"), report);
                None
            }
        }
    }

    /// `PLAIN` and `SCRAM-…`.
    fn user(&self, mechanism: &str, report: &mut Report) -> Option<SaslSettings> {
        self.refuse_other_handlers(report);
        let [plain, scram] = USER_MODULES;
        let is_plain = mechanism == "PLAIN";
        let login = self.login(mechanism, &if is_plain { [scram, plain] } else { [plain, scram] }, report)?;
        self.tell_options(&login, &|name| matches!(name, "username" | "password" | "tokenauth"), report);
        let mut option = |name: &str| {
            let value = login.option(name).filter(|value| !value.reveal().is_empty());
            if value.is_none() {
                let message = format!("{} has no `{name}`", self.key(JAAS));
                self.refuse(JAAS, &message, &format!("add {name}=\"…\" before its last `;`"), report);
            }
            value.cloned()
        };
        let (username, password) = (option("username"), option("password"));
        let (username, password) = (username?.reveal().to_owned(), password?);
        if is_plain {
            return Some(SaslSettings::Plain { username, password });
        }
        let tokenauth = login.option("tokenauth").filter(|_| login.module.as_deref() == Some(scram));
        let is_token = tokenauth.is_some_and(|value| value.reveal().eq_ignore_ascii_case("true"));
        Some(SaslSettings::Scram { sha512: mechanism == "SCRAM-SHA-512", username, password, is_token })
    }

    /// Refuses what would get the login in another way than by keeping what it is told.
    pub(super) fn refuse_other_handlers(&self, report: &mut Report) {
        if self.text(HANDLER).is_some_and(|handler| handler != DEFAULT_HANDLER) {
            self.refuse_handler(report);
        }
    }

    pub(super) fn refuse_handler(&self, report: &mut Report) {
        let message = format!(
            "{} is `{}`: only Kafka's own ways to get a login are built",
            self.key(HANDLER),
            self.shown(HANDLER)
        );
        self.refuse(HANDLER, &message, "remove it to log in without", report);
    }

    /// `OAUTHBEARER`.
    fn bearer(&self, report: &mut Report) -> Option<SaslSettings> {
        let handler = self.text(HANDLER).unwrap_or(UNSECURED_HANDLER);
        let is_unsecured = handler == UNSECURED_HANDLER || handler == DEFAULT_HANDLER;
        if !is_unsecured && !TOKEN_HANDLERS.contains(&handler) {
            self.refuse_handler(report);
            return None;
        }
        let login = self.login("OAUTHBEARER", &[TOKEN_MODULE], report)?;
        if is_unsecured {
            if let Some(given) = self.by_name.get(ENDPOINT).filter(|_| self.text(ENDPOINT).is_some()) {
                let message = format!(
                    "{} has no effect: tokens are made here, and nobody signs them",
                    self.key(ENDPOINT)
                );
                let hint =
                    format!("to use it, write {}={}", self.key(HANDLER).trim_matches('`'), TOKEN_HANDLERS[0]);
                report.push(Problem::warning(given.entry.place(), message).with_hint(hint));
            }
            self.unsecured(&login, report)
        } else {
            let token = self.token(&login, report);
            let extensions = self.extensions(&login, "extension_", report)?;
            let is_known = |name: &str| match &token {
                _ if name.starts_with("extension_") => true,
                Some(TokenSettings::Endpoint(endpoint)) => endpoint::is_option(name, &endpoint.url),
                _ => false,
            };
            if token.is_some() {
                self.tell_options(&login, &is_known, report);
            }
            Some(SaslSettings::OauthBearer { token: token?, extensions })
        }
    }

    /// What `sasl.oauthbearer.token.endpoint.url` names: a file, or a provider.
    fn token(&self, login: &Login, report: &mut Report) -> Option<TokenSettings> {
        const HINT: &str =
            "write the `https://…` of an identity provider, or file:///… of a file that holds a token";
        let Some(url) = self.text(ENDPOINT) else {
            let message = format!("{} is missing, which says where tokens come from", self.key(ENDPOINT));
            self.refuse(HANDLER, &message, HINT, report);
            return None;
        };
        let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("file") => {
                let rest = &url["file:".len()..];
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.starts_with('/') {
                    let class = ".ClientCredentialsJwtRetriever";
                    self.refuse_retriever(class, "names a file", "remove it to read the file", report);
                    return Some(TokenSettings::File(PathBuf::from(path)));
                }
            }
            Some("https" | "http") => {
                return Some(TokenSettings::Endpoint(Box::new(self.endpoint(url, login, report)?)));
            }
            _ => {}
        }
        // There may be a secret in it.
        let message = format!("{} is neither the URL of a provider nor that of a file", self.key(ENDPOINT));
        self.refuse(ENDPOINT, &message, HINT, report);
        None
    }

    /// Kafka's login for development, as `OAuthBearerUnsecuredLoginCallbackHandler` makes it.
    fn unsecured(&self, login: &Login, report: &mut Report) -> Option<SaslSettings> {
        const PREFIX: &str = "unsecuredLogin";
        let option = |name: &str| login.option(&format!("{PREFIX}{name}")).map(Secret::reveal);
        let named = |name: &str, default: &str| {
            let name = option(name).map(str::trim).filter(|name| !name.is_empty());
            name.unwrap_or(default).to_owned()
        };
        let mut wrong = |message: String| {
            self.refuse(JAAS, &message, "see `OAUTHBEARER` in Kafka's documentation", report);
        };
        let mut claims = BTreeMap::new();
        for (name, value, at) in login.options() {
            let Some((kind, claim)) = name.strip_prefix(PREFIX).and_then(|name| name.split_once("Claim_"))
            else {
                continue;
            };
            let value = value.reveal();
            let claimed = match kind {
                "String" => ClaimSettings::Text(value.to_owned()),
                "Number" if value.trim().parse::<f64>().is_ok_and(f64::is_finite) => {
                    ClaimSettings::Number(value.trim().to_owned())
                }
                "List" => ClaimSettings::List(list_claim(value)),
                "Number" => {
                    let what = "gives a claim a number that is none";
                    wrong(format!("{} {what} (character {at} of the value)", self.key(JAAS)));
                    return None;
                }
                _ => continue,
            };
            if matches!(claim, "iat" | "exp") {
                wrong(format!("{} gives a value to the claim `{claim}`, which is computed", self.key(JAAS)));
                return None;
            }
            if !claim.is_empty() {
                claims.insert(claim.to_owned(), claimed);
            }
        }
        let Ok(lifetime_seconds) = option("LifetimeSeconds").map_or(Ok(3600), str::parse::<u32>) else {
            wrong(format!("{} gives `{PREFIX}LifetimeSeconds` a number that is none", self.key(JAAS)));
            return None;
        };
        let principal_claim = named("PrincipalClaimName", "sub");
        if !matches!(claims.get(&principal_claim), Some(ClaimSettings::Text(text)) if !text.is_empty()) {
            wrong(match option("PrincipalClaimName") {
                None => {
                    format!("{} has no `{PREFIX}StringClaim_sub`, which says who logs in", self.key(JAAS))
                }
                Some(_) => format!("{} gives no text to the claim that says who logs in", self.key(JAAS)),
            });
            return None;
        }
        let scope_claim = named("ScopeClaimName", "scope");
        let extensions = self.extensions(login, "unsecuredLoginExtension_", report)?;
        self.tell_options(login, &|name| name.starts_with(PREFIX), report);
        let token = TokenSettings::Unsecured { claims, principal_claim, scope_claim, lifetime_seconds };
        Some(SaslSettings::OauthBearer { token, extensions })
    }

    /// What is sent with a token, in the form that Kafka allows (RFC 7628).
    fn extensions(
        &self,
        login: &Login,
        prefix: &str,
        report: &mut Report,
    ) -> Option<BTreeMap<String, String>> {
        let mut extensions = BTreeMap::new();
        for (name, value, at) in login.options() {
            let Some(name) = name.strip_prefix(prefix) else { continue };
            let value = value.reveal();
            let is_name =
                !name.is_empty() && name != "auth" && name.chars().all(|char| char.is_ascii_alphabetic());
            let may_stand = |char| matches!(char, '\u{21}'..='\u{7e}' | ' ' | '\t' | '\r' | '\n');
            if !is_name || value.is_empty() || !value.chars().all(may_stand) {
                let message = format!(
                    "{} holds an extension that cannot be sent (character {at} of the value)",
                    self.key(JAAS)
                );
                self.refuse(JAAS, &message, "its name is made of letters, and its value of ASCII", report);
                return None;
            }
            extensions.insert(name.to_owned(), value.to_owned());
        }
        Some(extensions)
    }

    /// Tells of options that nobody reads, without their names: a misplaced quote makes one of a secret.
    pub(super) fn tell_options(&self, login: &Login, is_known: &dyn Fn(&str) -> bool, report: &mut Report) {
        let idle = login.options().filter(|(name, ..)| !is_known(name));
        let at: Vec<String> = idle.map(|(_, _, at)| at.to_string()).collect();
        if !at.is_empty() {
            let message = format!(
                "{} holds options without effect here, at character {} of the value",
                self.key(JAAS),
                at.join(", ")
            );
            report.push(Problem::warning(self.place(JAAS), message));
        }
    }
}

/// The first character is what separates the others.
fn list_claim(value: &str) -> Vec<String> {
    let mut chars = value.chars();
    let Some(separator) = chars.next() else { return Vec::new() };
    let text = chars.as_str();
    if text.is_empty() {
        return Vec::new();
    }
    let mut parts: Vec<String> = text.split(separator).map(str::to_owned).collect();
    while parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    let doubled: String = [separator, separator].iter().collect();
    if text.starts_with(separator) || text.ends_with(separator) || text.contains(&doubled) {
        parts.push(String::new());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_claim_is_cut_as_kafka_cuts_it() {
        assert_eq!(list_claim("|a|b"), ["a", "b"]);
        assert_eq!(list_claim(",a"), ["a"]);
        assert_eq!(list_claim("|a||b"), ["a", "", "b", ""]);
        assert_eq!(list_claim("|a|"), ["a", ""]);
        assert!(list_claim("|").is_empty() && list_claim("").is_empty());
    }
}
