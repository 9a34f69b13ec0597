//! `AWS_MSK_IAM`: whose keys are used, as the options of `aws-msk-iam-auth` say it (`MSKCredentialProvider`).

use std::time::Duration;

use super::Connection;
use crate::jaas::Login;
use crate::report::{Problem, Report};
use crate::security::{AwsIamSettings, AwsRoleSettings, SaslSettings};
use crate::value::{Secret, trim};

const JAAS: &str = "sasl.jaas.config";
const HANDLER: &str = "sasl.login.callback.handler.class";
const CLIENT_HANDLER: &str = "sasl.client.callback.handler.class";
const MODULE: &str = "software.amazon.msk.auth.iam.IAMLoginModule";
/// What answers the mechanism in Java. It does nothing for another one.
pub(super) const IAM_HANDLER: &str = "software.amazon.msk.auth.iam.IAMClientCallbackHandler";

/// Of `awsRole…`, what has an effect only beside `awsRoleArn`.
const OF_ROLES: [&str; 6] = [
    "awsRoleSessionName",
    "awsRoleExternalId",
    "awsRoleAccessKeyId",
    "awsRoleSecretAccessKey",
    "awsRoleSessionToken",
    "awsStsRegion",
];
const OTHERS: [&str; 8] = [
    "awsProfileName",
    "awsRoleArn",
    "awsAddDefaultProviders",
    "awsDebugCreds",
    "awsMaxRetries",
    "awsMaxBackOffTimeMs",
    "awsShouldUseFips",
    "awsMskRegionProvider",
];

impl Connection<'_> {
    /// `AWS_MSK_IAM`.
    pub(super) fn aws_iam(&self, report: &mut Report) -> Option<SaslSettings> {
        if self.text(HANDLER).is_some() {
            self.refuse_handler(report);
        }
        let login = self.login("AWS_MSK_IAM", &[MODULE], report)?;
        let has_role = option(&login, "awsRoleArn").is_some();
        let is_known = |name: &str| OTHERS.contains(&name) || has_role && OF_ROLES.contains(&name);
        self.tell_options(&login, &is_known, report);
        if option(&login, "awsMskRegionProvider").is_some() {
            let message = format!(
                "{} names `awsMskRegionProvider`: classes of Java are not loaded here",
                self.key(JAAS)
            );
            self.refuse(
                JAAS,
                &message,
                "remove it; AWS_REGION says the region of brokers without one in their names",
                report,
            );
        }
        if is_true(&login, "awsShouldUseFips") {
            let message = format!(
                "{} sets `awsShouldUseFips`: FIPS endpoints of AWS are not built yet",
                self.key(JAAS)
            );
            self.refuse(JAAS, &message, "remove it to use the usual ones", report);
        }
        if self
            .text("security.protocol")
            .is_some_and(|protocol| protocol.eq_ignore_ascii_case("SASL_PLAINTEXT"))
        {
            let message = format!(
                "{} logs in by AWS_MSK_IAM without encryption: whoever is on the way can log in with what is said for a \
                 quarter of an hour",
                self.key("security.protocol")
            );
            let hint = "write SASL_SSL, as Amazon's brokers want it";
            report.push(Problem::warning(self.place("security.protocol"), message).with_hint(hint));
        }
        let retries_max = self.number(&login, "awsMaxRetries", 3, report)?;
        let backoff_max_ms = self.number(&login, "awsMaxBackOffTimeMs", 5000, report)?;
        Some(SaslSettings::AwsMskIam(Box::new(AwsIamSettings {
            profile: option(&login, "awsProfileName").map(str::to_owned),
            role: self.role(&login, report),
            default_sources: option(&login, "awsAddDefaultProviders").is_none_or(|value| value == "true"),
            debug: is_true(&login, "awsDebugCreds"),
            retries_max,
            backoff_max: Duration::from_millis(u64::from(backoff_max_ms)),
        })))
    }

    fn role(&self, login: &Login, report: &mut Report) -> Option<AwsRoleSettings> {
        let text = |name: &str| option(login, name).map(str::to_owned);
        let arn = text("awsRoleArn")?;
        let (id, secret) = (text("awsRoleAccessKeyId"), text("awsRoleSecretAccessKey"));
        if id.is_some() != secret.is_some() {
            let what = "has one of `awsRoleAccessKeyId` and `awsRoleSecretAccessKey`, which are of use together only";
            self.refuse(JAAS, &format!("{} {what}", self.key(JAAS)), "add the other, or remove it", report);
        }
        let token = text("awsRoleSessionToken").map(Secret::new);
        Some(AwsRoleSettings {
            arn,
            session_name: text("awsRoleSessionName").unwrap_or_else(|| "aws-msk-iam-auth".to_owned()),
            external_id: text("awsRoleExternalId"),
            keys: id.zip(secret).map(|(id, secret)| (id, Secret::new(secret), token)),
            sts_region: text("awsStsRegion").unwrap_or_else(|| "aws-global".to_owned()),
        })
    }

    /// A whole number, as Java's `Integer.parseInt` takes it; the library takes those below 0 for 0.
    fn number(&self, login: &Login, name: &str, default: u32, report: &mut Report) -> Option<u32> {
        let Some(text) = option(login, name) else { return Some(default) };
        match text.parse::<i32>() {
            Ok(number) => Some(u32::try_from(number).unwrap_or(0)),
            Err(_) => {
                let message = format!("{} gives `{name}` a number that is none", self.key(JAAS));
                self.refuse(JAAS, &message, "write a whole number in quotes", report);
                None
            }
        }
    }

    /// Refuses the class that answers `AWS_MSK_IAM`, for another mechanism.
    pub(super) fn refuse_iam_handler(&self, mechanism: &str, report: &mut Report) {
        if mechanism != "AWS_MSK_IAM" && self.text(CLIENT_HANDLER) == Some(IAM_HANDLER) {
            let message =
                format!("{} is for AWS_MSK_IAM, and the mechanism is {mechanism}", self.key(CLIENT_HANDLER));
            self.refuse(CLIENT_HANDLER, &message, "remove it, or write sasl.mechanism=AWS_MSK_IAM", report);
        }
    }
}

fn option<'a>(login: &'a Login, name: &str) -> Option<&'a str> {
    login.option(name).map(|value| trim(value.reveal())).filter(|value| !value.is_empty())
}

/// As the library reads it: nothing else is.
fn is_true(login: &Login, name: &str) -> bool {
    option(login, name) == Some("true")
}
