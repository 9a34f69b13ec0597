//! AWS's token service: gives keys of a role to whoever may take it on.
//!
//! Source: AWS's "AssumeRole" and "AssumeRoleWithWebIdentity", version 2011-06-15.

use std::path::Path;

use ureq::http::Method;

use super::Asker;
use super::keys::{Keys, Miss};
use super::profile::Role;
use super::region::{sts_host, sts_scope};
use super::sigv4::{Scope, authorization, encoded, time_ms};
use crate::Secret;
use crate::http::{Request, Url};
use crate::sasl::printable;

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const SESSION_NAME: &str = "paralog";

/// Keys of a role, taken on with the keys of another.
pub(super) fn assume(asker: &Asker<'_>, role: &Role, base: &Keys) -> Result<Keys, Miss> {
    ask(asker, role, "AssumeRole", None, Some(base))
}

/// Keys of a role, taken on with a token in a file, as Kubernetes puts it there.
pub(super) fn assume_with_file(asker: &Asker<'_>, role: &Role, token_file: &Path) -> Result<Keys, Miss> {
    let token = asker
        .surroundings
        .read(token_file)
        .map_err(|why| Miss::stays(format!("the token in {} cannot be read: {why}", token_file.display())))?;
    ask(asker, role, "AssumeRoleWithWebIdentity", Some(token.trim()), None)
}

fn ask(
    asker: &Asker<'_>,
    role: &Role,
    action: &str,
    token: Option<&str>,
    base: Option<&Keys>,
) -> Result<Keys, Miss> {
    let region = role.region.clone().or_else(|| asker.region()).unwrap_or_else(|| "aws-global".to_owned());
    let overridden = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];
    let url = overridden.into_iter().find_map(|name| asker.surroundings.var(name));
    let url = url.unwrap_or_else(|| format!("https://{}", sts_host(&region)));
    let url =
        Url::read(&url).map_err(|why| Miss::stays(format!("AWS_ENDPOINT_URL_STS cannot be used: {why}")))?;
    let body = body(role, action, token);
    let mut headers =
        vec![("content-type", FORM.to_owned()), ("host", url.authority()), ("accept", "text/xml".to_owned())];
    if let Some(base) = base {
        let scope = Scope { region: sts_scope(&region), service: "sts", now_ms: asker.now_ms };
        let (host, date) = (url.authority(), scope.date());
        let mut signed = vec![("content-type", FORM), ("host", &*host), ("x-amz-date", &*date)];
        if let Some(token) = &base.session_token {
            signed.push(("x-amz-security-token", token.expose()));
            headers.push(("x-amz-security-token", token.expose().to_owned()));
        }
        headers.push(("authorization", authorization(base, scope, "POST", &signed, &body)));
        headers.push(("x-amz-date", date));
    }
    let request = Request { method: Method::POST, url: &url, headers, body: Some(body) };
    let called = format!("the token service {url}");
    let answer =
        asker.http.ask(request).map_err(|error| Miss::now(format!("{called} {error}"), error.may_pass))?;
    let text = String::from_utf8_lossy(&answer.body);
    if answer.status.is_success() {
        return read(&text)
            .ok_or_else(|| Miss::stays(format!("{called} gives an answer without keys that can be read")));
    }
    let hidden = |said: &str| match token {
        Some(token) if !token.is_empty() => printable(&said.replace(token, "[hidden]")),
        _ => printable(said),
    };
    let code = element(&text, "Code").map(|code| format!(" {}", hidden(&code))).unwrap_or_default();
    let why = element(&text, "Message").map(|why| format!(" ({})", hidden(&why))).unwrap_or_default();
    let arn = printable(&role.arn);
    let what =
        format!("{called} does not give the role {arn}: it answers {}{code}{why}", answer.status.as_u16());
    let may_pass = answer.status.is_server_error() || answer.status.as_u16() == 429;
    Err(Miss::now(what, may_pass))
}

fn body(role: &Role, action: &str, token: Option<&str>) -> String {
    let mut body = format!("Action={action}&Version=2011-06-15&RoleArn={}", encoded(&role.arn));
    let session_name = role.session_name.as_deref().unwrap_or(SESSION_NAME);
    let given = [
        ("RoleSessionName", Some(session_name)),
        ("ExternalId", role.external_id.as_deref()),
        ("DurationSeconds", role.duration_seconds.as_deref()),
        ("WebIdentityToken", token),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            body += &format!("&{name}={}", encoded(value));
        }
    }
    body
}

fn read(answer: &str) -> Option<Keys> {
    let credentials = answer.split_once("<Credentials>")?.1.split_once("</Credentials>")?.0;
    Some(Keys {
        access_key_id: element(credentials, "AccessKeyId")?,
        secret_access_key: Secret::new(element(credentials, "SecretAccessKey")?),
        session_token: Some(Secret::new(element(credentials, "SessionToken")?)),
        expires_ms: Some(time_ms(&element(credentials, "Expiration")?)?),
    })
}

/// The text of the first element of that name, unless there is none in it.
fn element(xml: &str, name: &str) -> Option<String> {
    let rest = xml.split_once(&format!("<{name}>"))?.1;
    let text = rest.split_once(&format!("</{name}>"))?.0.trim();
    let marks = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    let text = marks.into_iter().fold(text.to_owned(), |text, (mark, means)| text.replace(mark, means));
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_gives_keys_and_their_end() {
        let answer = "<AssumeRoleResponse><AssumeRoleResult><AssumedRoleUser><Arn>x</Arn></AssumedRoleUser><Credentials>\
            <AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>a/b&amp;c</SecretAccessKey>\n<SessionToken> t== </SessionToken>\
            <Expiration>2015-08-30T12:36:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
        let expected = Keys {
            access_key_id: "ASIA".to_owned(),
            secret_access_key: Secret::new("a/b&c"),
            session_token: Some(Secret::new("t==")),
            expires_ms: Some(1_440_938_160_000),
        };
        assert_eq!(read(answer), Some(expected));
        for part in ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "Credentials"] {
            assert_eq!(read(&answer.replace(&format!("<{part}>"), "<x>")), None, "{part}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_service_says_nothing_panics(text: String, inside: String) {
            let _ = read(&text);
            let _ = read(&format!("<Credentials><AccessKeyId>{inside}</AccessKeyId></Credentials>"));
        }
    }
}
