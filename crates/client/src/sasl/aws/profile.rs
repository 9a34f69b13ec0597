//! Profiles, as the AWS command line tools keep them in `~/.aws/config` and `~/.aws/credentials`.
//!
//! Source: AWS's "Shared config and credentials files"; the SDK's ProfileCredentialsUtils.

use std::collections::BTreeMap;

use super::keys::{Keys, Miss};

/// What one profile says, by lower-case name.
type Profile = BTreeMap<String, String>;

/// All profiles by name. They hold secrets, so that they do not print.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Profiles(BTreeMap<String, Profile>);

/// How a profile comes to keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// They stand in it.
    Keys(Keys),
    /// A role, taken on with the keys of another.
    Role { role: Role, from: Box<From> },
    /// A role, taken on with a token in a file.
    WebIdentity { role: Role, token_file: String },
}

/// Whose keys a role is taken on with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum From {
    Profile(Way),
    Environment,
    Container,
    Instance,
}

/// A role, and how it is taken on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session_name: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) duration_seconds: Option<String>,
    /// Of the service that gives out the keys.
    pub(super) region: Option<String>,
}

/// So many profiles may lead to each other.
const DEPTH_MAX: usize = 8;

impl Profiles {
    /// Reads both files; what `credentials` says of a profile wins.
    pub(super) fn read(config: &str, credentials: &str) -> Profiles {
        let mut profiles = Profiles::default();
        let mut of_config: Vec<(String, Profile)> = sections(config);
        // `[profile default]` wins over `[default]`.
        of_config.sort_by_key(|(name, _)| name.starts_with("profile "));
        for (name, profile) in of_config {
            let name = match name.strip_prefix("profile ") {
                Some(name) => name.trim(),
                None if name == "default" => "default",
                // Another kind of section.
                None => continue,
            };
            profiles.0.entry(name.to_owned()).or_default().extend(profile);
        }
        for (name, profile) in sections(credentials) {
            profiles.0.entry(name).or_default().extend(profile);
        }
        profiles
    }

    /// The region that a profile names.
    pub(super) fn region(&self, name: &str) -> Option<String> {
        self.0.get(name)?.get("region").cloned()
    }

    /// How `name` comes to keys.
    ///
    /// # Errors
    /// What is missing, or not done here.
    pub(super) fn way(&self, name: &str) -> Result<Way, Miss> {
        self.way_within(name, DEPTH_MAX)
    }

    fn way_within(&self, name: &str, depth: usize) -> Result<Way, Miss> {
        let profile = self.0.get(name).ok_or_else(|| Miss::stays(format!("there is no profile `{name}`")))?;
        let given = |key: &str| profile.get(key).filter(|value| !value.is_empty()).cloned();
        for (key, what) in [
            ("mfa_serial", "a second factor cannot be asked for here"),
            ("credential_process", "commands are not run here"),
            ("sso_session", "single sign-on is not built yet"),
            ("sso_start_url", "single sign-on is not built yet"),
        ] {
            if given(key).is_some() {
                return Err(Miss::ends(format!("profile `{name}` has `{key}`: {what}")));
            }
        }
        let Some(arn) = given("role_arn") else { return own_keys(name, profile) };
        let role = Role {
            arn,
            session_name: given("role_session_name"),
            external_id: given("external_id"),
            duration_seconds: given("duration_seconds"),
            region: given("region"),
        };
        if let Some(token_file) = given("web_identity_token_file") {
            return Ok(Way::WebIdentity { role, token_file });
        }
        let from = match (given("source_profile"), given("credential_source").as_deref()) {
            (Some(_), Some(_)) => {
                let what = "has both `source_profile` and `credential_source`, where one can count";
                return Err(Miss::stays(format!("profile `{name}` {what}")));
            }
            (Some(source), None) if source == name => From::Profile(own_keys(name, profile)?),
            (Some(_), None) if depth == 0 => {
                return Err(Miss::stays(format!("profile `{name}` and others lead to each other")));
            }
            (Some(source), None) => From::Profile(self.way_within(&source, depth - 1)?),
            (None, Some("Environment")) => From::Environment,
            (None, Some("EcsContainer")) => From::Container,
            (None, Some("Ec2InstanceMetadata")) => From::Instance,
            (None, Some(_)) => {
                let what = "a `credential_source` that is none of `Environment`, `EcsContainer`, `Ec2InstanceMetadata`";
                return Err(Miss::stays(format!("profile `{name}` has {what}")));
            }
            (None, None) => {
                let what = "has a `role_arn`, and neither `source_profile` nor `credential_source`";
                return Err(Miss::stays(format!("profile `{name}` {what}")));
            }
        };
        Ok(Way::Role { role, from: Box::new(from) })
    }
}

fn own_keys(name: &str, profile: &Profile) -> Result<Way, Miss> {
    let parts = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];
    let keys = Keys::lasting(parts.map(|key| profile.get(key).cloned()), [parts[0], parts[1]]);
    keys.map(Way::Keys).map_err(|miss| Miss::stays(format!("profile `{name}`: {}", miss.what)))
}

/// The sections of a file, in order. What belongs to none is passed over, as are lines that say nothing.
fn sections(text: &str) -> Vec<(String, Profile)> {
    let mut sections: Vec<(String, Profile)> = Vec::new();
    for line in text.lines() {
        // A line that is set in belongs to the one before it (`s3 =`), which is for others.
        let is_nested = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || is_nested || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.split(']').next().unwrap_or_default();
            let words: Vec<&str> = name.split_whitespace().collect();
            sections.push((words.join(" "), Profile::new()));
        } else if let (Some((key, value)), Some((_, profile))) = (line.split_once('='), sections.last_mut()) {
            // A comment may follow a blank.
            let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
            let value = value[..end.unwrap_or(value.len())].trim();
            profile.insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CONFIG: &str = "\
# comment
[default]
region = eu-west-1
aws_access_key_id = OLD
[profile default]
region=eu-west-2 # here
s3 =
  region = nowhere
[profile role]
role_arn = arn:aws:iam::1:role/r
source_profile = default
external_id = x
role_session_name=me
[profile chained]
role_arn = arn:aws:iam::1:role/s
source_profile = role
[profile web]
role_arn = arn:aws:iam::1:role/w
web_identity_token_file = /run/token
[profile instance]
role_arn = arn:aws:iam::1:role/i
credential_source = Ec2InstanceMetadata
[profile both]
role_arn = a
source_profile = default
credential_source = Environment
[profile loop]
role_arn = a
source_profile = loop2
[profile loop2]
role_arn = a
source_profile = loop
[profile own]
role_arn = a
source_profile = own
aws_access_key_id = O
aws_secret_access_key = o
[profile process]
credential_process = /bin/echo
[profile sso]
sso_session = x
[profile alone]
role_arn = a
[services x]
aws_access_key_id = S
";
    const CREDENTIALS: &str = "stray = x\n[default]\naws_access_key_id = AKID\naws_secret_access_key = a=b#c\n\
        [temporary]\naws_access_key_id = T\naws_secret_access_key = t\naws_session_token = u\n[half]\naws_access_key_id = H\n";

    fn profiles() -> Profiles {
        Profiles::read(CONFIG, CREDENTIALS)
    }

    fn keys(parts: [&str; 3]) -> Keys {
        let parts = parts.map(|part| Some(part.to_owned()));
        Keys::lasting(parts, ["", ""]).unwrap()
    }

    #[test]
    fn profiles_come_to_keys_as_the_sdk_does_it() {
        let profiles = profiles();
        let way = |name: &str| profiles.way(name).unwrap();
        let default = || Way::Keys(keys(["AKID", "a=b#c", ""]));
        assert_eq!(way("default"), default());
        assert_eq!(profiles.region("default").as_deref(), Some("eu-west-2"));
        assert_eq!(way("temporary"), Way::Keys(keys(["T", "t", "u"])));
        let role = Role {
            arn: "arn:aws:iam::1:role/r".into(),
            session_name: Some("me".into()),
            external_id: Some("x".into()),
            ..Role::default()
        };
        let of_default = || Way::Role { role: role.clone(), from: Box::new(From::Profile(default())) };
        assert_eq!(way("role"), of_default());
        let role = Role { arn: "arn:aws:iam::1:role/s".into(), ..Role::default() };
        assert_eq!(way("chained"), Way::Role { role, from: Box::new(From::Profile(of_default())) });
        let role = Role { arn: "arn:aws:iam::1:role/w".into(), ..Role::default() };
        assert_eq!(way("web"), Way::WebIdentity { role, token_file: "/run/token".into() });
        let role = Role { arn: "arn:aws:iam::1:role/i".into(), ..Role::default() };
        assert_eq!(way("instance"), Way::Role { role, from: Box::new(From::Instance) });
        let role = Role { arn: "a".into(), ..Role::default() };
        let own = Way::Keys(keys(["O", "o", ""]));
        assert_eq!(way("own"), Way::Role { role, from: Box::new(From::Profile(own)) });
    }

    #[test]
    fn profiles_that_come_to_none_say_why() {
        for (name, expected) in [
            ("nobody", "there is no profile `nobody`"),
            ("x", "there is no profile `x`"),
            ("half", "profile `half`: aws_secret_access_key is not set"),
            ("both", "profile `both` has both"),
            ("loop", "lead to each other"),
            ("process", "profile `process` has `credential_process`: commands are not run here"),
            ("sso", "profile `sso` has `sso_session`: single sign-on is not built yet"),
            ("alone", "has a `role_arn`, and neither"),
        ] {
            let miss = profiles().way(name).unwrap_err();
            assert!(miss.what.contains(expected) && !miss.may_pass, "{name}: {miss:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_in_the_files_nothing_panics(config: String, name: String, lines in "[\\[\\]a-z =#\t\n]{0,80}") {
            let _ = Profiles::read(&config, &lines).way(&name);
            let _ = Profiles::read(&lines, &config).way("default");
        }
    }
}
