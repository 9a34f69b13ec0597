//! Encryption and authentication of connections.
//!
//! Which of these have an effect, and whether what one asks for is refused, depends on the protocol and the mechanism
//! of the connection it is for: see `load/secured.rs`. What is in `off` is what Java or Kafka would do anyway, and
//! asks for nothing.

use super::{Feature, Group, Property, Why, later, refused, used, void};
use crate::value::{Kind, Unit};

/// Security properties of every client.
pub(super) static SECURITY: Group = Group { title: "Security of any client", properties: PROPERTIES };

const SECONDS: Kind = Kind::Whole { unit: Unit::Seconds, min: 0, max: 3600 };

/// A class, provider or algorithm of Java's.
const fn java(name: &'static str, kind: Kind, off: &'static [&'static str], says: &'static str) -> Property {
    refused(name, kind, if off.is_empty() { "" } else { off[0] }, Feature::JavaSecurity, off, says)
}

/// How Kafka's clients renew tickets.
const fn renewed(name: &'static str, kind: Kind, default: &'static str, says: &'static str) -> Property {
    void(name, kind, default, Why::Tickets, says)
}

/// What shows an identity provider who we are, instead of a secret. It is refused where one is asked.
const fn asserted(name: &'static str, kind: Kind, default: &'static str, says: &'static str) -> Property {
    later(name, kind, default, Feature::Assertions, says)
}

/// How whoever gets a token judges it.
const fn judged(name: &'static str, kind: Kind, default: &'static str, says: &'static str) -> Property {
    void(name, kind, default, Why::Judged, says)
}

const PROPERTIES: &[Property] = &[
    used(
        "security.protocol",
        Kind::OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        "PLAINTEXT",
        "encryption and authentication of the connection; `ssl.*` and `sasl.*` have an effect only as it says",
    ),
    java("security.providers", Kind::Text, &[], "Java security providers"),
    used(
        "sasl.mechanism",
        Kind::Text,
        "GSSAPI",
        "how the client proves who it is: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`, `AWS_MSK_IAM` or, in a build that has Kerberos, `GSSAPI`",
    ),
    used(
        "sasl.jaas.config",
        Kind::Password,
        "",
        "the login: module, user and secret; a file named by `java.security.auth.login.config` is not read",
    ),
    java("sasl.jaas.config.jndi.allowlist", Kind::Text, &[], "JNDI addresses that a login may name"),
    java(
        "sasl.client.callback.handler.class",
        Kind::Class,
        &[
            "org.apache.kafka.common.security.authenticator.SaslClientCallbackHandler",
            "org.apache.kafka.common.security.oauthbearer.internals.OAuthBearerSaslClientCallbackHandler",
            // What it does is done here, for its mechanism.
            "software.amazon.msk.auth.iam.IAMClientCallbackHandler",
        ],
        "class that answers the mechanism",
    ),
    used(
        "sasl.login.callback.handler.class",
        Kind::Class,
        "",
        "class that fetches credentials: for `OAUTHBEARER`, Kafka's own for unsecured tokens, which is the default, or for those of `sasl.oauthbearer.token.endpoint.url`",
    ),
    java(
        "sasl.login.class",
        Kind::Class,
        &[
            "org.apache.kafka.common.security.authenticator.DefaultLogin",
            "org.apache.kafka.common.security.oauthbearer.internals.OAuthBearerRefreshingLogin",
        ],
        "class that logs in",
    ),
    used(
        "sasl.kerberos.service.name",
        Kind::Text,
        "",
        "the service name of the brokers in Kerberos; `serviceName` in `sasl.jaas.config` says the same",
    ),
    renewed("sasl.kerberos.kinit.cmd", Kind::Text, "/usr/bin/kinit", "the command that renews tickets"),
    renewed(
        "sasl.kerberos.ticket.renew.window.factor",
        Kind::Fraction,
        "0.8",
        "when in its life a ticket is renewed",
    ),
    renewed("sasl.kerberos.ticket.renew.jitter", Kind::Fraction, "0.05", "random part of that time"),
    renewed(
        "sasl.kerberos.min.time.before.relogin",
        Kind::long_millis(0),
        "60000",
        "the shortest time between two log-ins",
    ),
    used("sasl.login.refresh.window.factor", Kind::Fraction, "0.8", "when in its life a token is refreshed"),
    used("sasl.login.refresh.window.jitter", Kind::Fraction, "0.05", "random part of that time"),
    used(
        "sasl.login.refresh.min.period.seconds",
        Kind::Whole { unit: Unit::Seconds, min: 0, max: 900 },
        "60",
        "the shortest time between two refreshes",
    ),
    used(
        "sasl.login.refresh.buffer.seconds",
        SECONDS,
        "300",
        "how long before its end a token is refreshed at the latest",
    ),
    used(
        "sasl.login.connect.timeout.ms",
        Kind::millis(0),
        "",
        "how long connecting to the identity provider may take; left out, 10 s",
    ),
    used("sasl.login.read.timeout.ms", Kind::millis(0), "", "how long its answer may take; left out, 10 s"),
    used("sasl.login.retry.backoff.ms", Kind::long_millis(0), "100", "the pause before it is asked again"),
    used(
        "sasl.login.retry.backoff.max.ms",
        Kind::long_millis(0),
        "10000",
        "how long it is asked again at all; the pauses double",
    ),
    used(
        "sasl.oauthbearer.token.endpoint.url",
        Kind::Text,
        "",
        "where tokens come from: `https://…` of an identity provider, or `file:///…` of a file that holds one",
    ),
    judged("sasl.oauthbearer.jwks.endpoint.url", Kind::Text, "", "where the provider's keys are"),
    judged(
        "sasl.oauthbearer.jwks.endpoint.refresh.ms",
        Kind::long_millis(0),
        "3600000",
        "how often these keys are fetched",
    ),
    judged(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
        Kind::long_millis(0),
        "100",
        "the pause before they are fetched again",
    ),
    judged(
        "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
        Kind::long_millis(0),
        "10000",
        "the longest such pause",
    ),
    used("sasl.oauthbearer.scope.claim.name", Kind::Text, "scope", "the claim that holds the scope"),
    used("sasl.oauthbearer.sub.claim.name", Kind::Text, "sub", "the claim that holds the subject"),
    judged("sasl.oauthbearer.clock.skew.seconds", SECONDS, "30", "how far clocks may be apart"),
    judged("sasl.oauthbearer.expected.audience", Kind::List, "", "audiences a token must name"),
    judged("sasl.oauthbearer.expected.issuer", Kind::Text, "", "the issuer a token must name"),
    used(
        "sasl.oauthbearer.header.urlencode",
        Kind::Boolean,
        "false",
        "whether the client's id and secret are encoded as in forms",
    ),
    used("sasl.oauthbearer.scope", Kind::Text, "", "the scope asked for; wins over `scope` in the login"),
    used(
        "sasl.oauthbearer.client.credentials.client.id",
        Kind::Text,
        "",
        "the client's id; wins over `clientId` in the login",
    ),
    used(
        "sasl.oauthbearer.client.credentials.client.secret",
        Kind::Password,
        "",
        "the client's secret; wins over `clientSecret` in the login",
    ),
    java(
        "sasl.oauthbearer.jwt.retriever.class",
        Kind::Class,
        &[
            "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
            "org.apache.kafka.common.security.oauthbearer.FileJwtRetriever",
            "org.apache.kafka.common.security.oauthbearer.ClientCredentialsJwtRetriever",
        ],
        "class that fetches tokens",
    ),
    judged(
        "sasl.oauthbearer.jwt.validator.class",
        Kind::Class,
        "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
        "class that checks tokens",
    ),
    judged("sasl.oauthbearer.jti.validation.enabled", Kind::Boolean, "false", "whether a token needs an id"),
    judged(
        "sasl.oauthbearer.iat.validation.enabled",
        Kind::Boolean,
        "false",
        "whether a token needs a time of issue",
    ),
    asserted("sasl.oauthbearer.assertion.algorithm", Kind::Text, "RS256", "how assertions are signed"),
    asserted("sasl.oauthbearer.assertion.claim.aud", Kind::Text, "", "the audience of assertions"),
    asserted("sasl.oauthbearer.assertion.claim.iss", Kind::Text, "", "the issuer of assertions"),
    asserted("sasl.oauthbearer.assertion.claim.sub", Kind::Text, "", "the subject of assertions"),
    asserted(
        "sasl.oauthbearer.assertion.claim.exp.seconds",
        Kind::count(0),
        "300",
        "how long assertions hold",
    ),
    asserted(
        "sasl.oauthbearer.assertion.claim.nbf.seconds",
        Kind::count(0),
        "60",
        "how long before their issue assertions hold",
    ),
    asserted(
        "sasl.oauthbearer.assertion.claim.jti.include",
        Kind::Boolean,
        "false",
        "whether assertions have an id",
    ),
    asserted("sasl.oauthbearer.assertion.file", Kind::Text, "", "a file that holds the assertion"),
    asserted("sasl.oauthbearer.assertion.private.key.file", Kind::Text, "", "the key that signs assertions"),
    asserted(
        "sasl.oauthbearer.assertion.private.key.passphrase",
        Kind::Password,
        "",
        "the passphrase of that key",
    ),
    asserted("sasl.oauthbearer.assertion.template.file", Kind::Text, "", "what else assertions hold"),
    asserted("sasl.oauthbearer.assertion.*", Kind::Text, "", "more about assertions, by version"),
    asserted(
        "sasl.oauthbearer.aws.iam.webidentitytoken.audience",
        Kind::Text,
        "",
        "the audience of AWS identity tokens",
    ),
    asserted(
        "sasl.oauthbearer.aws.iam.webidentitytoken.duration.seconds",
        Kind::Text,
        "",
        "how long they hold",
    ),
    asserted(
        "sasl.oauthbearer.aws.iam.webidentitytoken.region",
        Kind::Text,
        "",
        "the AWS region that issues them",
    ),
    asserted(
        "sasl.oauthbearer.aws.iam.webidentitytoken.signing.algorithm",
        Kind::Text,
        "",
        "how they are signed",
    ),
    asserted("sasl.oauthbearer.aws.iam.webidentitytoken.tags", Kind::Text, "", "their tags"),
    used(
        "ssl.protocol",
        Kind::Text,
        "TLSv1.3",
        "the newest version of TLS that may be spoken; `TLS` for any",
    ),
    used(
        "ssl.enabled.protocols",
        Kind::List,
        "TLSv1.2,TLSv1.3",
        "the versions that may be spoken; those before 1.2 are left out, with a warning",
    ),
    java("ssl.provider", Kind::Text, &["SunJSSE"], "the Java security provider for TLS"),
    used(
        "ssl.cipher.suites",
        Kind::List,
        "",
        "the cipher suites that may be used, by Java's names; left out, all there are here",
    ),
    java(
        "ssl.secure.random.implementation",
        Kind::Text,
        &["DRBG", "NativePRNG", "NativePRNGNonBlocking", "NativePRNGBlocking", "SHA1PRNG"],
        "the source of random numbers; the system's in any case",
    ),
    java(
        "ssl.engine.factory.class",
        Kind::Class,
        &["org.apache.kafka.common.security.ssl.DefaultSslEngineFactory"],
        "class that makes TLS engines",
    ),
    used(
        "ssl.keystore.type",
        Kind::Text,
        "JKS",
        "the format of the key store: `JKS`, `PKCS12` (each also taken for the other, as by Java) or `PEM`",
    ),
    used("ssl.truststore.type", Kind::Text, "JKS", "the format of the trust store, as of the key store"),
    used("ssl.keystore.location", Kind::Text, "", "the file with the client's certificates and key"),
    used("ssl.keystore.password", Kind::Password, "", "its password"),
    used("ssl.key.password", Kind::Password, "", "the key's password; left out, the key store's"),
    used("ssl.keystore.key", Kind::Password, "", "the client's key itself, as PEM (PKCS#8)"),
    used("ssl.keystore.certificate.chain", Kind::Password, "", "the client's certificates, as PEM"),
    used(
        "ssl.truststore.location",
        Kind::Text,
        "",
        "the file with the certificates to trust; without one and without `ssl.truststore.certificates`, those of the system",
    ),
    used(
        "ssl.truststore.password",
        Kind::Password,
        "",
        "its password; left out, the file is not checked for changes",
    ),
    used("ssl.truststore.certificates", Kind::Password, "", "the certificates to trust, as PEM"),
    java("ssl.keymanager.algorithm", Kind::Text, &["SunX509", "PKIX", "NewSunX509"], "how keys are chosen"),
    java("ssl.trustmanager.algorithm", Kind::Text, &["PKIX", "SunX509", "X509"], "how trust is decided"),
    used(
        "ssl.endpoint.identification.algorithm",
        Kind::Text,
        "https",
        "whether the broker's name must match its certificate; empty for no",
    ),
];
