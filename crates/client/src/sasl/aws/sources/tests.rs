use super::*;
use crate::http::Http;
use crate::http::testing::{Reply, Server};
use crate::sasl::aws::surroundings::testing::Given;
use crate::sasl::aws::{NEARBY, WAITS};
use crate::{Secret, TlsOptions};

const NOW_MS: u64 = 1_440_938_160_000;
const KEYS: &str =
    r#"{"AccessKeyId":"ASIA","SecretAccessKey":"hush","Token":"t","Expiration":"2015-08-30T18:00:00Z"}"#;
const ROLE: &str = "<AssumeRoleResponse><Credentials><AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>\
    <SessionToken>t</SessionToken><Expiration>2015-08-30T18:00:00Z</Expiration></Credentials></AssumeRoleResponse>";

fn found(options: &AwsIam, given: &Given) -> Result<(String, String), String> {
    let [http, nearby] = [WAITS, NEARBY].map(|waits| Http::new(TlsOptions::default(), waits));
    let asker = Asker { surroundings: given, http: &http, nearby: &nearby, now_ms: NOW_MS };
    match find(&order(options), &asker) {
        Ok((keys, source)) => Ok((keys.access_key_id, source)),
        Err(miss) => {
            assert!(!miss.what.contains("hush") && !miss.what.contains('\n'), "{miss:?}");
            Err(miss.what)
        }
    }
}

fn usually(given: &Given) -> Result<(String, String), String> {
    found(&AwsIam::default(), given)
}

fn is(found: Result<(String, String), String>, id: &str, source: &str) {
    assert_eq!(found.unwrap(), (id.to_owned(), source.to_owned()));
}

/// A service that gives a role, by whatever action.
fn service() -> Server {
    Server::plain(|_| Reply::Says(200, ROLE.to_owned()))
}

#[test]
fn the_first_source_that_has_keys_counts() {
    let service = service();
    let url = service.url("");
    let all = Given::vars([
        ("AWS_ACCESS_KEY_ID", "ENV"),
        ("AWS_SECRET_ACCESS_KEY", "hush"),
        ("AWS_ENDPOINT_URL_STS", &*url),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ("AWS_ROLE_ARN", "arn:r"),
        ("HOME", "/me"),
    ])
    .file("/token", "hush-token\n")
    .file("/me/.aws/credentials", "[default]\naws_access_key_id=FILE\naws_secret_access_key=hush\n[p]\naws_access_key_id=P\naws_secret_access_key=hush\n");
    is(usually(&all), "ENV", "environment");
    let without = |names: &[&str]| {
        let mut given = Given { vars: all.vars.clone(), files: all.files.clone() };
        given.vars.retain(|name, _| !names.contains(name));
        given
    };
    is(usually(&without(&["AWS_SECRET_ACCESS_KEY"])), "ROLE", "web identity");
    let heard = service.heard().remove(0);
    let body = heard.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(
        body,
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Ar&RoleSessionName=paralog&WebIdentityToken=hush-token"
    );
    assert!(!heard.to_lowercase().contains("authorization:"), "{heard}");
    is(usually(&without(&["AWS_SECRET_ACCESS_KEY", "AWS_ROLE_ARN"])), "FILE", "profile `default`");
    let named = AwsIam { profile: Some("p".to_owned()), ..AwsIam::default() };
    is(found(&named, &all), "P", "profile `p`");
    let lost = AwsIam { profile: Some("q".to_owned()), ..AwsIam::default() };
    is(found(&lost, &all), "ENV", "environment");
    let only = AwsIam { default_sources: false, ..lost };
    assert_eq!(
        found(&only, &all).unwrap_err(),
        "no keys of AWS, tried in order: profile `q`: there is no profile `q`"
    );
}

#[test]
fn where_there_are_none_all_that_was_tried_is_told_in_order() {
    let given = Given::vars([("HOME", "/me"), ("AWS_EC2_METADATA_DISABLED", "True"), ("AWS_PROFILE", "p")]);
    assert_eq!(
        usually(&given).unwrap_err(),
        "no keys of AWS, tried in order: environment: AWS_ACCESS_KEY_ID is not set; \
         web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set; \
         profile `p`: /me/.aws/credentials cannot be read: there is no such file; \
         container: neither AWS_CONTAINER_CREDENTIALS_RELATIVE_URI nor AWS_CONTAINER_CREDENTIALS_FULL_URI is set; \
         instance: AWS_EC2_METADATA_DISABLED is set"
    );
}

#[test]
fn a_role_is_taken_on_with_a_signature() {
    let service = service();
    let url = service.url("");
    let given = Given::vars([("AWS_ENDPOINT_URL_STS", &*url), ("AWS_EC2_METADATA_DISABLED", "true")]);
    let role = AwsRole {
        arn: "arn:aws:iam::1:role/r".to_owned(),
        session_name: "me".to_owned(),
        external_id: Some("x y".to_owned()),
        keys: Some(("AKID".to_owned(), Secret::new("hush"), Some(Secret::new("tok")))),
        sts_region: "eu-west-1".to_owned(),
    };
    let options = AwsIam { role: Some(role.clone()), ..AwsIam::default() };
    is(found(&options, &given), "ROLE", "role arn:aws:iam::1:role/r");
    let heard = service.heard().remove(0);
    let (head, body) = heard.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        body,
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=me&ExternalId=x%20y"
    );
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("{name}: {head}")).split_once(": ").unwrap().1.to_owned()
    };
    // Recomputed from what arrived.
    let names = ["content-type", "host", "x-amz-date", "x-amz-security-token"];
    let values = names.map(header);
    let headers: Vec<(&str, &str)> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
    let keys = Keys {
        access_key_id: "AKID".to_owned(),
        secret_access_key: Secret::new("hush"),
        session_token: Some(Secret::new("tok")),
        expires_ms: None,
    };
    let scope = super::super::sigv4::Scope { region: "eu-west-1", service: "sts", now_ms: NOW_MS };
    let expected = super::super::sigv4::authorization(&keys, scope, "POST", &headers, body);
    assert_eq!(header("authorization"), expected);
    assert_eq!(values[2], "20150830T123600Z");

    let nobody =
        AwsIam { role: Some(AwsRole { keys: None, ..role }), default_sources: false, ..AwsIam::default() };
    let error = found(&nobody, &given).unwrap_err();
    assert!(
        error.contains("role arn:aws:iam::1:role/r: no keys of AWS, tried in order: environment: "),
        "{error}"
    );
}

#[test]
fn a_profile_may_lead_to_a_role() {
    let service = service();
    let url = service.url("");
    let config = "[profile r]\nrole_arn=arn:r\nsource_profile=base\n[profile w]\nrole_arn=arn:w\nweb_identity_token_file=/token\n\
        [profile e]\nrole_arn=arn:e\ncredential_source=Environment\n[profile s]\nsso_session=x\n";
    let credentials = "[base]\naws_access_key_id=BASE\naws_secret_access_key=hush\n";
    for (profile, by) in [("r", "Credential=BASE/"), ("w", "WebIdentityToken=tok"), ("e", "Credential=ENV/")]
    {
        let given = Given::vars([
            ("AWS_ENDPOINT_URL_STS", &*url),
            ("AWS_CONFIG_FILE", "/config"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/credentials"),
            ("AWS_ACCESS_KEY_ID", "ENV"),
            ("AWS_SECRET_ACCESS_KEY", "hush"),
        ])
        .file("/config", config)
        .file("/credentials", credentials)
        .file("/token", "tok");
        let options =
            AwsIam { profile: Some(profile.to_owned()), default_sources: false, ..AwsIam::default() };
        is(found(&options, &given), "ROLE", &format!("profile `{profile}`"));
        assert!(service.heard().pop().unwrap().contains(by), "{profile}");
    }
}

#[test]
fn a_service_that_refuses_is_told_without_what_it_was_told() {
    let service = Server::plain(|_| {
        let said = "<Error><Code>AccessDenied</Code><Message>not with hush-token</Message></Error>";
        Reply::Says(403, said.to_owned())
    });
    let url = service.url("");
    let given = Given::vars([
        ("AWS_ENDPOINT_URL_STS", &*url),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ("AWS_ROLE_ARN", "arn:r"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ])
    .file("/token", "hush-token");
    let error = usually(&given).unwrap_err();
    let expected = "/ does not give the role arn:r: it answers 403 AccessDenied (not with [hidden]); ";
    assert!(error.contains(expected), "{error}");
    let lost = Given::vars([
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/lost"),
        ("AWS_ROLE_ARN", "a"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]);
    let error = usually(&lost).unwrap_err();
    assert!(
        error.contains("web identity: the token in /lost cannot be read: there is no such file; "),
        "{error}"
    );
}

#[test]
fn a_container_gives_keys_to_what_shows_its_token() {
    let server = Server::plain(|_| Reply::Says(200, KEYS.to_owned()));
    let url = server.url("/v2/keys");
    let with_file = Given::vars([
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token"),
    ])
    .file("/token", "of-the-file\n");
    is(usually(&with_file), "ASIA", "container");
    let direct = Given::vars([
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "itself"),
    ]);
    is(usually(&direct), "ASIA", "container");
    let heard = server.heard().join("").to_lowercase();
    assert!(
        heard.starts_with("get /v2/keys ") && heard.contains("authorization: of-the-file\r\n"),
        "{heard}"
    );
    assert!(heard.contains("authorization: itself\r\n"), "{heard}");

    let far = Given::vars([
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://keys.example/x?hush"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]);
    let error = usually(&far).unwrap_err();
    assert!(
        error.contains("is `http://keys.example/x`: without TLS only this machine's own are asked; "),
        "{error}"
    );
}

#[test]
fn an_instance_gives_keys_to_what_got_a_token_first() {
    let server = Server::plain(|asked| match asked {
        asked if asked.starts_with("PUT /latest/api/token ") => Reply::Says(200, "the-token".to_owned()),
        asked if !asked.to_lowercase().contains("x-aws-ec2-metadata-token: the-token\r\n") => {
            Reply::Says(401, String::new())
        }
        asked if asked.starts_with("GET /latest/meta-data/iam/security-credentials/ ") => {
            Reply::Says(200, "the-role\nanother".to_owned())
        }
        asked if asked.starts_with("GET /latest/meta-data/iam/security-credentials/the-role ") => {
            Reply::Says(200, KEYS.replacen('{', r#"{"Code":"Success","#, 1))
        }
        _ => Reply::Says(404, String::new()),
    });
    let url = server.url("");
    is(usually(&Given::vars([("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*url)])), "ASIA", "instance");
    let token = server.heard().remove(0).to_lowercase();
    assert!(token.contains("x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"), "{token}");

    let failing = Server::plain(|asked| {
        let said = if asked.starts_with("GET /latest/meta-data/iam/security-credentials/r") {
            r#"{"Code":"AssumeRoleUnauthorizedAccess"}"#
        } else {
            "r"
        };
        Reply::Says(200, said.to_owned())
    });
    let url = failing.url("");
    let error = usually(&Given::vars([("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*url)])).unwrap_err();
    assert!(error.ends_with("/security-credentials/r answers AssumeRoleUnauthorizedAccess"), "{error}");
    let hostile = Server::plain(|_| Reply::Says(200, "../../x?y".to_owned()));
    let url = hostile.url("");
    let error = usually(&Given::vars([("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*url)])).unwrap_err();
    assert!(error.ends_with("instance: the instance's role has a name that none has"), "{error}");
}
