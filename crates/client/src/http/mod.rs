//! Asks servers that are no brokers: one request, one answer, on a connection of its own, by HTTP/1.1.
//!
//! It blocks, so that it belongs to a thread that may. As Java's clients do unless they are told otherwise, it takes no
//! notice of proxies in the environment. It follows no redirect: what is sent may be a secret, and is for whoever was
//! named.

mod tls;
mod url;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, Timeout};

use crate::tls::{TlsFailed, Web};
use crate::{SecurityError, TlsOptions};
pub(crate) use url::Url;

/// The longest answer taken. Tokens, keys and errors have a few kilobytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
const USER_AGENT: &str = concat!("paralog/", env!("CARGO_PKG_VERSION"));

/// Whoever asks.
#[derive(Debug)]
pub(crate) struct Http {
    agent: Agent,
    tls: Arc<Web>,
    waits: Waits,
}

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// Finding the host, connecting, TLS.
    pub(crate) connect: Duration,
    /// The answer, from when the request was sent, and then its body.
    pub(crate) answer: Duration,
}

/// What is asked. It holds secrets, so that it does not print.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<String>,
}

/// What is answered. It may hold secrets, so that it does not print.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct HttpError {
    /// To be put behind who was asked.
    pub(crate) what: String,
    /// It may be another time.
    pub(crate) may_pass: bool,
}

impl Http {
    /// TLS as `tls` says, where it is asked for.
    pub(crate) fn new(tls: TlsOptions, waits: Waits) -> Http {
        let tls = Arc::new(Web::new(tls));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .proxy(None)
            .user_agent(USER_AGENT)
            .timeout_resolve(Some(waits.connect))
            .timeout_connect(Some(waits.connect))
            .timeout_send_request(Some(waits.answer))
            .timeout_send_body(Some(waits.answer))
            .timeout_recv_response(Some(waits.answer))
            .timeout_recv_body(Some(waits.answer))
            .build();
        let connector = ().chain(TcpConnector::default()).chain(tls::TlsConnector(Arc::clone(&tls)));
        Http { agent: Agent::with_parts(config, connector, DefaultResolver::default()), tls, waits }
    }

    /// Whether what TLS needs can be read. Blocks.
    pub(crate) fn check(&self) -> Result<(), SecurityError> {
        self.tls.check()
    }

    /// Asks once. Blocks, for as long as [`Waits`] say at most.
    pub(crate) fn ask(&self, request: Request<'_>) -> Result<Answer, HttpError> {
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers {
            let mut value = HeaderValue::try_from(value).map_err(|_| HttpError {
                what: format!(
                    "cannot be asked: what is to be sent as `{name}` holds characters that cannot be"
                ),
                may_pass: false,
            })?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        let mut asked = ureq::http::Request::new(());
        *asked.method_mut() = request.method;
        *asked.uri_mut() = request.url.uri().clone();
        *asked.headers_mut() = headers;
        let answer = match request.body {
            Some(body) => self.agent.run(asked.map(|()| body)),
            None => self.agent.run(asked),
        };
        let mut answer = answer.map_err(|error| self.told(error))?;
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Answer { status: answer.status(), body: body.map_err(|error| self.told(error))? })
    }

    fn told(&self, error: ureq::Error) -> HttpError {
        let passes = |what: String| HttpError { what, may_pass: true };
        let stays = |what: String| HttpError { what, may_pass: false };
        match error {
            ureq::Error::Io(error) => match (TlsFailed::of(&error), security(&error)) {
                (Some(failed), _) => stays(format!("makes no TLS: {failed}")),
                (_, Some(error)) => stays(format!("cannot be asked: {error}")),
                _ if error.kind() == io::ErrorKind::UnexpectedEof => {
                    passes("closes the connection without an answer".to_owned())
                }
                _ => passes(format!("cannot be reached: {error}")),
            },
            ureq::Error::HostNotFound => passes("cannot be reached: its name has no address".to_owned()),
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                passes(format!("cannot be reached within {:.1} s", self.waits.connect.as_secs_f64()))
            }
            ureq::Error::Timeout(_) => {
                passes(format!("has not answered within {:.1} s", self.waits.answer.as_secs_f64()))
            }
            ureq::Error::BodyExceedsLimit(bytes) => {
                stays(format!("gives an answer of more than {bytes} bytes, which is none"))
            }
            ureq::Error::Protocol(_) | ureq::Error::Http(_) | ureq::Error::LargeResponseHeader(..) => {
                stays("gives an answer that is not HTTP".to_owned())
            }
            other => passes(format!("cannot be asked: {other}")),
        }
    }
}

fn security(error: &io::Error) -> Option<&SecurityError> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
