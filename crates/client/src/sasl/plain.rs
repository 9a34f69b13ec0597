//! PLAIN: user and password as they are (RFC 4616).

use super::{Fault, Step};
use crate::Secret;

/// What is said, all of it.
pub(super) fn message(username: &str, password: &Secret) -> Result<Vec<u8>, String> {
    let password = password.expose();
    if username.contains('\0') || password.contains('\0') {
        return Err("neither user nor password can hold a zero character".to_owned());
    }
    if username.is_empty() || password.is_empty() {
        return Err("the user or the password is empty".to_owned());
    }
    Ok(format!("\0{username}\0{password}").into_bytes())
}

/// The broker has nothing to say to it.
pub(super) fn step(challenge: &[u8]) -> Result<Step, Fault> {
    if challenge.is_empty() {
        Ok(Step::Done)
    } else {
        Err(Fault::unexpected("an answer to PLAIN that is not empty"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_said_in_one() {
        assert_eq!(message("ann", &Secret::new("p,=w")).unwrap(), b"\0ann\0p,=w");
        assert!(message("ann", &Secret::new("a\0b")).is_err() && message("", &Secret::new("a")).is_err());
    }
}
