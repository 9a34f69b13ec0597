//! Where keys come from, one source after another, as `aws-msk-iam-auth` and the SDK's default chain have them.

use std::path::Path;

use tracing::warn;

use super::Asker;
use super::keys::{Keys, Miss};
use super::metadata::{container, instance};
use super::profile::{From, Profiles, Role, Way};
use super::sts;
use crate::{AwsIam, AwsRole};

/// A place that may have keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A profile; by default that of `AWS_PROFILE`.
    Profile(Option<String>),
    Role(AwsRole),
    Environment,
    WebIdentity,
    Container,
    Instance,
}

/// The sources of these options, in the order in which they are tried.
pub(super) fn order(options: &AwsIam) -> Vec<Source> {
    let mut sources = Vec::new();
    sources.extend(options.profile.clone().map(|name| Source::Profile(Some(name))));
    sources.extend(options.role.clone().map(Source::Role));
    if options.default_sources {
        sources.extend(usual());
    }
    sources
}

/// The SDK's default chain.
fn usual() -> [Source; 5] {
    [Source::Environment, Source::WebIdentity, Source::Profile(None), Source::Container, Source::Instance]
}

/// The keys of the first source that has some, and what that is called. Blocks while others are asked.
///
/// # Errors
/// What was tried, in order, and why it gave none.
pub(super) fn find(sources: &[Source], asker: &Asker<'_>) -> Result<(Keys, String), Miss> {
    let mut tried = Vec::new();
    let mut may_pass = false;
    for source in sources {
        let called = source.called(asker);
        match source.keys(asker) {
            Ok(keys) => return Ok((keys, called)),
            Err(miss) => {
                // What was named, and is not to be had, is told where another's keys are used.
                if source.is_named() && !miss.ends {
                    warn!("{called} gives no keys of AWS, others are looked for: {}", miss.what);
                }
                may_pass |= miss.may_pass;
                tried.push(format!("{called}: {}", miss.what));
                if miss.ends {
                    let what = format!("no keys of AWS: {}", tried.join("; "));
                    return Err(Miss::ends(what));
                }
            }
        }
    }
    Err(Miss::now(format!("no keys of AWS, tried in order: {}", tried.join("; ")), may_pass))
}

impl Source {
    /// The options of the login name it.
    fn is_named(&self) -> bool {
        matches!(self, Source::Profile(Some(_)) | Source::Role(_))
    }

    fn called(&self, asker: &Asker<'_>) -> String {
        match self {
            Source::Profile(name) => format!("profile `{}`", name.clone().unwrap_or_else(|| asker.profile())),
            Source::Role(role) => format!("role {}", role.arn),
            Source::Environment => "environment".to_owned(),
            Source::WebIdentity => "web identity".to_owned(),
            Source::Container => "container".to_owned(),
            Source::Instance => "instance".to_owned(),
        }
    }

    fn keys(&self, asker: &Asker<'_>) -> Result<Keys, Miss> {
        match self {
            Source::Environment => environment(asker),
            Source::WebIdentity => web_identity(asker),
            Source::Container => container(asker),
            Source::Instance => instance(asker),
            Source::Profile(name) => {
                let name = name.clone().unwrap_or_else(|| asker.profile());
                by(asker, &asker.profiles()?.way(&name)?)
            }
            Source::Role(options) => {
                let base = match &options.keys {
                    Some((id, secret, token)) => Keys {
                        access_key_id: id.clone(),
                        secret_access_key: secret.clone(),
                        session_token: token.clone(),
                        expires_ms: None,
                    },
                    None => find(&usual(), asker)?.0,
                };
                let role = Role {
                    arn: options.arn.clone(),
                    session_name: Some(options.session_name.clone()),
                    external_id: options.external_id.clone(),
                    duration_seconds: None,
                    region: Some(options.sts_region.clone()),
                };
                sts::assume(asker, &role, &base)
            }
        }
    }
}

fn environment(asker: &Asker<'_>) -> Result<Keys, Miss> {
    let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    Keys::lasting(names.map(|name| asker.surroundings.var(name)), [names[0], names[1]])
}

fn web_identity(asker: &Asker<'_>) -> Result<Keys, Miss> {
    let var =
        |name: &str| asker.surroundings.var(name).ok_or_else(|| Miss::stays(format!("{name} is not set")));
    let (file, arn) = (var("AWS_WEB_IDENTITY_TOKEN_FILE")?, var("AWS_ROLE_ARN")?);
    let session_name = asker.surroundings.var("AWS_ROLE_SESSION_NAME");
    sts::assume_with_file(asker, &Role { arn, session_name, ..Role::default() }, Path::new(&file))
}

/// By the way of a profile.
fn by(asker: &Asker<'_>, way: &Way) -> Result<Keys, Miss> {
    match way {
        Way::Keys(keys) => Ok(keys.clone()),
        Way::WebIdentity { role, token_file } => sts::assume_with_file(asker, role, Path::new(token_file)),
        Way::Role { role, from } => {
            let base = match &**from {
                From::Profile(way) => by(asker, way),
                From::Environment => environment(asker),
                From::Container => container(asker),
                From::Instance => instance(asker),
            };
            sts::assume(asker, role, &base?)
        }
    }
}

impl Asker<'_> {
    /// The name of the usual profile.
    fn profile(&self) -> String {
        self.surroundings.var("AWS_PROFILE").unwrap_or_else(|| "default".to_owned())
    }

    fn profiles(&self) -> Result<Profiles, Miss> {
        let files = [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")];
        let files = files.map(|(variable, name)| self.surroundings.tool_file(variable, name));
        let [config, credentials] = files.each_ref().map(|path| self.surroundings.read(path));
        match (config, credentials) {
            (Err(_), Err(why)) => Err(Miss::stays(format!("{} cannot be read: {why}", files[1].display()))),
            (config, credentials) => {
                Ok(Profiles::read(&config.unwrap_or_default(), &credentials.unwrap_or_default()))
            }
        }
    }

    /// The region that the surroundings name.
    pub(super) fn region(&self) -> Option<String> {
        let named = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let named = named.into_iter().find_map(|name| self.surroundings.var(name));
        named.or_else(|| self.profiles().ok()?.region(&self.profile()))
    }
}

#[cfg(test)]
mod tests;
