//! Keys of AWS, and why there are none.

use crate::Secret;

/// What proves to AWS who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    /// What temporary keys have beside them.
    pub(super) session_token: Option<Secret>,
    /// When they end, in milliseconds since 1970, if they do.
    pub(super) expires_ms: Option<u64>,
}

/// Why a source has no keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Miss {
    /// To be put behind the source's name.
    pub(super) what: String,
    /// It may be another time.
    pub(super) may_pass: bool,
    /// Whose keys are meant is said, and these are not to be had here: another source's would be somebody else's.
    pub(super) ends: bool,
}

impl Miss {
    /// It stays so until somebody changes something.
    pub(super) fn stays(what: impl Into<String>) -> Miss {
        Miss { what: what.into(), may_pass: false, ends: false }
    }

    /// It may be otherwise another time.
    pub(super) fn now(what: impl Into<String>, may_pass: bool) -> Miss {
        Miss { may_pass, ..Miss::stays(what) }
    }

    /// It is said whose keys are meant, and they are not to be had here.
    pub(super) fn ends(what: impl Into<String>) -> Miss {
        Miss { ends: true, ..Miss::stays(what) }
    }
}

impl Keys {
    /// Keys that do not end.
    ///
    /// # Errors
    /// Where one of them is missing; `names` are what they are called there.
    pub(super) fn lasting([id, secret, token]: [Option<String>; 3], names: [&str; 2]) -> Result<Keys, Miss> {
        let given = |value: Option<String>| value.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
        let [id_name, secret_name] = names;
        let id = given(id).ok_or_else(|| Miss::stays(format!("{id_name} is not set")))?;
        let secret = given(secret).ok_or_else(|| Miss::stays(format!("{secret_name} is not set")))?;
        Ok(Keys {
            access_key_id: id,
            secret_access_key: Secret::new(secret),
            session_token: given(token).map(Secret::new),
            expires_ms: None,
        })
    }
}
