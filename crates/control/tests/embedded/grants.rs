//! A store for flows that copy no ACLs.

use control::{GrantError, GrantStore};
use model::Acls;

/// Nobody asks it.
pub(crate) struct NoGrants;

impl GrantStore for NoGrants {
    fn load(&mut self) -> Result<Acls, GrantError> {
        Err(nobody())
    }

    fn save(&mut self, _: &Acls) -> Result<(), GrantError> {
        Err(nobody())
    }

    fn prove(&mut self) -> Result<(), GrantError> {
        Err(nobody())
    }

    fn copies_at_source(&mut self) -> Result<Acls, GrantError> {
        Err(nobody())
    }
}

fn nobody() -> GrantError {
    GrantError::Failed(String::from("no ACLs are copied here"))
}
