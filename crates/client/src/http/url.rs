//! Where a server is asked.

use std::fmt;

use ureq::http::Uri;
use ureq::http::uri::Scheme;

/// An `http:` or `https:` URL. It shows without its query, where there may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url(Uri);

impl Url {
    /// Reads one; says what is wrong with it, without showing it.
    pub(crate) fn read(text: &str) -> Result<Url, &'static str> {
        let uri: Uri = text.trim().parse().map_err(|_| "it is no URL")?;
        if !uri.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS) {
            return Err("it does not begin with `https://`");
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("it names a user, which would not be sent");
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err("it names no host");
        }
        Ok(Url(uri))
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    /// The host, and the port if it is given, as `host` headers have them.
    pub(crate) fn authority(&self) -> String {
        self.0.authority().map_or_else(String::new, |authority| authority.as_str().to_owned())
    }

    /// Without a port, and without brackets.
    pub(crate) fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// What shows nowhere.
    pub(crate) fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// What is sent there can be read on the way.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTP)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.0.scheme_str().unwrap_or_default(), self.authority(), self.0.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_shows_without_its_query() {
        let shown = |text: &str| Url::read(text).map(|url| url.to_string());
        assert_eq!(
            shown(" https://idp.example:8443/a/token?key=hush#x "),
            Ok("https://idp.example:8443/a/token".into())
        );
        assert_eq!(shown("http://[::1]:80"), Ok("http://[::1]:80/".into()));
        assert_eq!(Url::read("http://[::1]:80").map(|url| url.host().to_owned()), Ok("::1".into()));
        assert_eq!(shown("https://ann:hush@idp.example/"), Err("it names a user, which would not be sent"));
        assert_eq!(shown("ftp://idp.example/"), Err("it does not begin with `https://`"));
        assert_eq!(shown("idp.example"), Err("it does not begin with `https://`"));
        assert_eq!(shown("https://a b/"), Err("it is no URL"));
        assert!(shown("https://").is_err() && shown("").is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_written_nothing_panics(text: String, rest: String) {
            let _ = Url::read(&text).map(|url| url.to_string());
            let _ = Url::read(&format!("https://{rest}")).map(|url| url.to_string());
        }
    }
}
