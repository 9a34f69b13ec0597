//! Encryption and authentication of connections: recognised, not built yet.
//!
//! Whether one of these is refused depends on the protocol of the connection it is for; see
//! `load/security.rs`. What is in `off` is Kafka's own default, and asks for nothing.

use super::{Feature, Group, Property, Status, refused};
use crate::value::{Kind, Unit};

/// Security properties of every client.
pub(super) static SECURITY: Group = Group { title: "Security of any client", properties: PROPERTIES };

const SECONDS: Kind = Kind::Whole { unit: Unit::Seconds, min: 0, max: 3600 };

/// Without a default.
const fn plain(name: &'static str, kind: Kind, says: &'static str) -> Property {
    refused(name, kind, "", Feature::Security, &[], says)
}

const fn with_default(
    name: &'static str,
    kind: Kind,
    off: &'static [&'static str],
    says: &'static str,
) -> Property {
    let status = Status::NotBuilt { feature: Feature::Security, off, refuse: true };
    Property { name, kind, default: Some(off[0]), status, says }
}

const PROPERTIES: &[Property] = &[
    with_default(
        "security.protocol",
        Kind::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        &["PLAINTEXT"],
        "encryption and authentication of the connection",
    ),
    plain("security.providers", Kind::Text, "Java security providers"),
    with_default("sasl.mechanism", Kind::Text, &["GSSAPI"], "how the client proves who it is"),
    plain("sasl.jaas.config", Kind::Password, "the login: module, user and secret"),
    plain("sasl.jaas.config.jndi.allowlist", Kind::Text, "JNDI addresses that a login may name"),
    plain("sasl.client.callback.handler.class", Kind::Class, "class that answers the mechanism"),
    plain("sasl.login.callback.handler.class", Kind::Class, "class that fetches credentials"),
    plain("sasl.login.class", Kind::Class, "class that logs in"),
    plain("sasl.kerberos.service.name", Kind::Text, "the service name of the brokers in Kerberos"),
    with_default(
        "sasl.kerberos.kinit.cmd",
        Kind::Text,
        &["/usr/bin/kinit"],
        "the command that renews tickets",
    ),
    with_default(
        "sasl.kerberos.ticket.renew.window.factor",
        Kind::Fraction,
        &["0.8"],
        "when in its life a ticket is renewed",
    ),
    with_default("sasl.kerberos.ticket.renew.jitter", Kind::Fraction, &["0.05"], "random part of that time"),
    with_default(
        "sasl.kerberos.min.time.before.relogin",
        Kind::long_millis(0),
        &["60000"],
        "the shortest time between two log-ins",
    ),
    with_default(
        "sasl.login.refresh.window.factor",
        Kind::Fraction,
        &["0.8"],
        "when in its life a token is refreshed",
    ),
    with_default("sasl.login.refresh.window.jitter", Kind::Fraction, &["0.05"], "random part of that time"),
    with_default(
        "sasl.login.refresh.min.period.seconds",
        SECONDS,
        &["60"],
        "the shortest time between two refreshes",
    ),
    with_default(
        "sasl.login.refresh.buffer.seconds",
        SECONDS,
        &["300"],
        "how long before its end a token is refreshed at the latest",
    ),
    plain(
        "sasl.login.connect.timeout.ms",
        Kind::millis(0),
        "how long connecting to the identity provider may take",
    ),
    plain("sasl.login.read.timeout.ms", Kind::millis(0), "how long its answer may take"),
    with_default(
        "sasl.login.retry.backoff.ms",
        Kind::long_millis(0),
        &["100"],
        "the pause before it is asked again",
    ),
    with_default(
        "sasl.login.retry.backoff.max.ms",
        Kind::long_millis(0),
        &["10000"],
        "the longest such pause",
    ),
    plain("sasl.oauthbearer.token.endpoint.url", Kind::Text, "where tokens are issued"),
    plain("sasl.oauthbearer.jwks.endpoint.url", Kind::Text, "where the provider's keys are"),
    with_default(
        "sasl.oauthbearer.jwks.endpoint.refresh.ms",
        Kind::long_millis(0),
        &["3600000"],
        "how often these keys are fetched",
    ),
    with_default(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
        Kind::long_millis(0),
        &["100"],
        "the pause before they are fetched again",
    ),
    with_default(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        Kind::long_millis(0),
        &["10000"],
        "the longest such pause",
    ),
    with_default(
        "sasl.oauthbearer.scope.claim.name",
        Kind::Text,
        &["scope"],
        "the claim that holds the scope",
    ),
    with_default("sasl.oauthbearer.sub.claim.name", Kind::Text, &["sub"], "the claim that holds the subject"),
    with_default("sasl.oauthbearer.clock.skew.seconds", SECONDS, &["30"], "how far clocks may be apart"),
    plain("sasl.oauthbearer.expected.audience", Kind::List, "audiences a token must name"),
    plain("sasl.oauthbearer.expected.issuer", Kind::Text, "the issuer a token must name"),
    with_default(
        "sasl.oauthbearer.header.urlencode",
        Kind::Boolean,
        &["false"],
        "whether client id and secret are URL-encoded",
    ),
    plain("sasl.oauthbearer.scope", Kind::Text, "the scope asked for"),
    plain("sasl.oauthbearer.client.credentials.client.id", Kind::Text, "the client id"),
    plain("sasl.oauthbearer.client.credentials.client.secret", Kind::Password, "the client's secret"),
    with_default(
        "sasl.oauthbearer.jwt.retriever.class",
        Kind::Class,
        &["org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"],
        "class that fetches tokens",
    ),
    with_default(
        "sasl.oauthbearer.jwt.validator.class",
        Kind::Class,
        &["org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"],
        "class that checks tokens",
    ),
    with_default(
        "sasl.oauthbearer.jti.validation.enabled",
        Kind::Boolean,
        &["false"],
        "whether a token needs an id",
    ),
    with_default(
        "sasl.oauthbearer.iat.validation.enabled",
        Kind::Boolean,
        &["false"],
        "whether a token needs a time of issue",
    ),
    with_default("sasl.oauthbearer.assertion.algorithm", Kind::Text, &["RS256"], "how assertions are signed"),
    plain("sasl.oauthbearer.assertion.claim.aud", Kind::Text, "the audience of assertions"),
    plain("sasl.oauthbearer.assertion.claim.iss", Kind::Text, "the issuer of assertions"),
    plain("sasl.oauthbearer.assertion.claim.sub", Kind::Text, "the subject of assertions"),
    with_default(
        "sasl.oauthbearer.assertion.claim.exp.seconds",
        Kind::count(0),
        &["300"],
        "how long assertions hold",
    ),
    with_default(
        "sasl.oauthbearer.assertion.claim.nbf.seconds",
        Kind::count(0),
        &["60"],
        "how long before their issue assertions hold",
    ),
    with_default(
        "sasl.oauthbearer.assertion.claim.jti.include",
        Kind::Boolean,
        &["false"],
        "whether assertions have an id",
    ),
    plain("sasl.oauthbearer.assertion.file", Kind::Text, "a file that holds the assertion"),
    plain("sasl.oauthbearer.assertion.private.key.file", Kind::Text, "the key that signs assertions"),
    plain("sasl.oauthbearer.assertion.private.key.passphrase", Kind::Password, "the passphrase of that key"),
    plain("sasl.oauthbearer.assertion.template.file", Kind::Text, "what else assertions hold"),
    plain("sasl.oauthbearer.assertion.*", Kind::Text, "more about assertions, by version"),
    plain(
        "sasl.oauthbearer.aws.iam.webidentitytoken.audience",
        Kind::Text,
        "the audience of AWS identity tokens",
    ),
    plain("sasl.oauthbearer.aws.iam.webidentitytoken.duration.seconds", Kind::Text, "how long they hold"),
    plain("sasl.oauthbearer.aws.iam.webidentitytoken.region", Kind::Text, "the AWS region that issues them"),
    plain("sasl.oauthbearer.aws.iam.webidentitytoken.signing.algorithm", Kind::Text, "how they are signed"),
    plain("sasl.oauthbearer.aws.iam.webidentitytoken.tags", Kind::Text, "their tags"),
    with_default("ssl.protocol", Kind::Text, &["TLSv1.3", "TLSv1.2", "TLS"], "the TLS version"),
    with_default(
        "ssl.enabled.protocols",
        Kind::List,
        &["TLSv1.2,TLSv1.3", "TLSv1.2", "TLSv1.3"],
        "the TLS versions that may be spoken",
    ),
    plain("ssl.provider", Kind::Text, "the Java security provider for TLS"),
    plain("ssl.cipher.suites", Kind::List, "the cipher suites that may be used"),
    plain("ssl.secure.random.implementation", Kind::Text, "the source of random numbers"),
    plain("ssl.engine.factory.class", Kind::Class, "class that makes TLS engines"),
    with_default("ssl.keystore.type", Kind::Text, &["JKS"], "the format of the key store"),
    with_default("ssl.truststore.type", Kind::Text, &["JKS"], "the format of the trust store"),
    plain("ssl.keystore.location", Kind::Text, "the file with the client's key"),
    plain("ssl.keystore.password", Kind::Password, "its password"),
    plain("ssl.key.password", Kind::Password, "the key's password"),
    plain("ssl.keystore.key", Kind::Password, "the client's key itself, as PEM"),
    plain("ssl.keystore.certificate.chain", Kind::Password, "the client's certificates, as PEM"),
    plain("ssl.truststore.location", Kind::Text, "the file with the certificates to trust"),
    plain("ssl.truststore.password", Kind::Password, "its password"),
    plain("ssl.truststore.certificates", Kind::Password, "the certificates to trust, as PEM"),
    with_default("ssl.keymanager.algorithm", Kind::Text, &["SunX509"], "how keys are chosen"),
    with_default("ssl.trustmanager.algorithm", Kind::Text, &["PKIX"], "how trust is decided"),
    with_default(
        "ssl.endpoint.identification.algorithm",
        Kind::Text,
        &["https"],
        "whether the broker's name must match its certificate; empty for no",
    ),
];
