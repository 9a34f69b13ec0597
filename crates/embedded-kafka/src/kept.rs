//! How much is kept that clients make up: groups, their members and offsets, transactional ids, settings, ACLs.
//!
//! Kafka keeps these on disks and has no bound for them; here they are memory, and a client that makes up a new name
//! for each request would take all of it. What is taken is counted as it comes and never as it goes: it is counted anew
//! where it seems to be too much, if anything may have gone since.

use protocol::ErrorCode;

/// What the things kept take together, beside themselves: names, metadata, assignments.
const BYTES_MAX: usize = 128 << 20;

/// What an entry of a list or set takes beside its names, however short they are.
pub(crate) const ENTRY_BYTES: usize = 96;

/// Of so many things, what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) things: usize,
    pub(crate) bytes: usize,
}

impl Size {
    pub(crate) fn of(bytes: usize) -> Size {
        Size { things: 1, bytes }
    }

    /// What it takes more than something that it replaces.
    pub(crate) fn instead_of(self, before: Option<Size>) -> Size {
        let before = before.unwrap_or_default();
        Size {
            things: self.things.saturating_sub(before.things),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }
}

impl std::ops::Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size { things: self.things + other.things, bytes: self.bytes.saturating_add(other.bytes) }
    }
}

impl std::iter::Sum for Size {
    fn sum<I: Iterator<Item = Size>>(sizes: I) -> Size {
        sizes.fold(Size::default(), std::ops::Add::add)
    }
}

/// What is kept in a cluster, and how much may be.
#[derive(Debug)]
pub(crate) struct Kept {
    max: Size,
    /// At most what there is.
    taken: Size,
}

impl Kept {
    pub(crate) fn new(things_max: usize) -> Kept {
        Kept { max: Size { things: things_max, bytes: BYTES_MAX }, taken: Size::default() }
    }

    fn has_room(&self, more: Size) -> bool {
        let all = self.taken + more;
        all.things <= self.max.things && all.bytes <= self.max.bytes
    }

    /// Room for `more`. `recount` is asked where there seems to be none: what there is, unless nothing can have gone
    /// since it was last asked.
    ///
    /// # Errors
    /// POLICY_VIOLATION: Kafka has no bound, and so no code for it, and this one tells a client not to try again.
    pub(crate) fn take(
        &mut self,
        more: Size,
        recount: impl FnOnce() -> Option<Size>,
    ) -> Result<(), ErrorCode> {
        if !self.has_room(more)
            && let Some(there_is) = recount()
        {
            self.taken = there_is;
        }
        if !self.has_room(more) {
            return Err(ErrorCode::POLICY_VIOLATION);
        }
        self.taken = self.taken + more;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_gone_makes_room_and_is_counted_only_where_there_is_none() {
        let mut kept = Kept::new(2);
        let unasked = || panic!("there is room");
        assert_eq!(kept.take(Size::of(5), unasked), Ok(()));
        assert_eq!(kept.take(Size::of(5), unasked), Ok(()));
        assert_eq!(kept.take(Size::of(5), || None), Err(ErrorCode::POLICY_VIOLATION));
        assert_eq!(kept.take(Size::of(5), || Some(Size::of(5))), Ok(()));
        assert_eq!(kept.take(Size::of(5), || None), Err(ErrorCode::POLICY_VIOLATION));
        let mut kept = Kept::new(1000);
        assert_eq!(kept.take(Size::of(BYTES_MAX), unasked), Ok(()));
        assert_eq!(kept.take(Size::of(1), || None), Err(ErrorCode::POLICY_VIOLATION));
    }
}
