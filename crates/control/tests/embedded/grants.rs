//! A store for flows that copy no ACLs.

use control::GrantStore;
use model::Acls;

/// Nobody asks it.
pub(crate) struct NoGrants;

impl GrantStore for NoGrants {
    fn load(&mut self) -> Result<Acls, String> {
        Err(String::from("no ACLs are copied here"))
    }

    fn save(&mut self, _: &Acls) -> Result<(), String> {
        Err(String::from("no ACLs are copied here"))
    }

    fn copies_at_source(&mut self) -> Result<Acls, String> {
        Err(String::from("no ACLs are copied here"))
    }
}
