//! Keys that the machine, or the container, gives to what runs on it.
//!
//! Source: the SDK's ContainerCredentialsProvider and InstanceProfileCredentialsProvider (IMDSv2 alone).

use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;
use ureq::http::Method;

use super::Asker;
use super::keys::{Keys, Miss};
use super::sigv4::time_ms;
use crate::Secret;
use crate::http::{Request, Url};
use crate::sasl::printable;

const CONTAINERS: &str = "http://169.254.170.2";
/// What may be asked without TLS, beside this machine itself.
const PLAIN_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
const INSTANCES: &str = "http://169.254.169.254";
const INSTANCES_V6: &str = "http://[fd00:ec2::254]";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

/// Keys of the container's role.
pub(super) fn container(asker: &Asker<'_>) -> Result<Keys, Miss> {
    const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let var = |name: &str| asker.surroundings.var(name);
    let (name, url) = match (var(RELATIVE), var(FULL)) {
        (Some(path), _) => (RELATIVE, format!("{CONTAINERS}/{}", path.trim_start_matches('/'))),
        (None, Some(url)) => (FULL, url),
        (None, None) => return Err(Miss::stays(format!("neither {RELATIVE} nor {FULL} is set"))),
    };
    let url = Url::read(&url).map_err(|why| Miss::stays(format!("{name} cannot be used: {why}")))?;
    if url.is_plain() && !may_be_plain(url.host()) {
        return Err(Miss::stays(format!("{name} is `{url}`: without TLS only this machine's own are asked")));
    }
    let token = match var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        Some(file) => {
            let token = asker.surroundings.read(Path::new(&file));
            Some(token.map_err(|why| Miss::stays(format!("the token in {file} cannot be read: {why}")))?)
        }
        None => var("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
    };
    let headers = token.map(|token| ("authorization", token.trim().to_owned())).into_iter().collect();
    let text = get(asker, Method::GET, &url, headers)?;
    read(&text).map_err(|why| Miss::stays(format!("{url} {why}")))
}

/// Keys of the instance's role.
pub(super) fn instance(asker: &Asker<'_>) -> Result<Keys, Miss> {
    let var = |name: &str| asker.surroundings.var(name);
    if var("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Err(Miss::stays("AWS_EC2_METADATA_DISABLED is set"));
    }
    let is_v6 =
        var("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE").is_some_and(|mode| mode.eq_ignore_ascii_case("IPv6"));
    let usual = if is_v6 { INSTANCES_V6 } else { INSTANCES };
    let base = var("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| usual.to_owned());
    let url = |path: &str| {
        Url::read(&format!("{}{path}", base.trim_end_matches('/')))
            .map_err(|why| Miss::stays(format!("AWS_EC2_METADATA_SERVICE_ENDPOINT cannot be used: {why}")))
    };
    let lifetime = ("x-aws-ec2-metadata-token-ttl-seconds", "21600".to_owned());
    // Elsewhere than at AWS nobody answers there: that does not pass.
    let token = get(asker, Method::PUT, &url("/latest/api/token")?, vec![lifetime])
        .map_err(|miss| Miss { may_pass: false, ..miss })?;
    let headers = || vec![("x-aws-ec2-metadata-token", token.trim().to_owned())];
    let roles = get(asker, Method::GET, &url(ROLES)?, headers())?;
    let role = roles.lines().next().map(str::trim).filter(|role| !role.is_empty());
    let role = role.ok_or_else(|| Miss::stays("the instance has no role"))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if !role.bytes().all(is_name) {
        return Err(Miss::stays("the instance's role has a name that none has"));
    }
    let url = url(&format!("{ROLES}{role}"))?;
    read(&get(asker, Method::GET, &url, headers())?).map_err(|why| Miss::stays(format!("{url} {why}")))
}

fn may_be_plain(host: &str) -> bool {
    let is_here = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_here || host == "localhost" || PLAIN_HOSTS.contains(&host)
}

fn get(
    asker: &Asker<'_>,
    method: Method,
    url: &Url,
    headers: Vec<(&'static str, String)>,
) -> Result<String, Miss> {
    let answer = asker.nearby.ask(Request { method, url, headers, body: None });
    let answer = answer.map_err(|error| Miss::now(format!("{url} {error}"), error.may_pass))?;
    if !answer.status.is_success() {
        let may_pass = answer.status.is_server_error();
        return Err(Miss::now(format!("{url} answers {}", answer.status.as_u16()), may_pass));
    }
    String::from_utf8(answer.body).map_err(|_| Miss::stays(format!("{url} gives an answer that is no text")))
}

/// Keys as both give them.
fn read(text: &str) -> Result<Keys, String> {
    let said: Value = serde_json::from_str(text).map_err(|_| "gives an answer that is not JSON")?;
    let given = |name: &str| said.get(name).and_then(Value::as_str).filter(|value| !value.is_empty());
    if let Some(code) = given("Code").filter(|code| *code != "Success") {
        return Err(format!("answers {}", printable(code)));
    }
    let missing = |name: &'static str| move || format!("gives no `{name}`");
    let expires_ms = match given("Expiration") {
        Some(end) => Some(time_ms(end).ok_or("gives an `Expiration` that is no time")?),
        None => None,
    };
    Ok(Keys {
        access_key_id: given("AccessKeyId").ok_or_else(missing("AccessKeyId"))?.to_owned(),
        secret_access_key: Secret::new(given("SecretAccessKey").ok_or_else(missing("SecretAccessKey"))?),
        session_token: given("Token").map(Secret::new),
        expires_ms,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn without_tls_only_those_who_are_near_are_asked() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.8.8.8", true),
            ("::1", true),
            ("localhost", true),
            ("169.254.170.2", true),
            ("169.254.170.23", true),
            ("fd00:ec2::23", true),
            ("169.254.170.3", false),
            ("localhost.example", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(may_be_plain(host), expected, "{host}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_answered_nothing_panics(text: String) {
            let _ = read(&text);
            let _ = read(&format!(r#"{{"AccessKeyId":"a","SecretAccessKey":"b","Expiration":{text:?}}}"#));
        }
    }
}
