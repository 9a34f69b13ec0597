//! How many bytes of record batches the data plane may hold, and who holds them.
//!
//! A [`Charge`] is taken before the bytes are asked for and travels with them; dropping the last clone of
//! it gives them back. A fetch reply is charged whole, since one batch that is still in flight keeps the
//! reply's buffer alive. One reply may exceed what was reserved, because a broker returns the first batch
//! of a reply however large it is (KIP-74): so the bound is the budget plus one batch a source broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes all lanes of a flow share.
#[derive(Debug)]
pub(crate) struct Budget {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(limit_bytes: usize) -> Arc<Budget> {
        Arc::new(Budget { limit_bytes, used_bytes: AtomicUsize::new(0) })
    }

    /// Bytes that may still be asked for.
    pub(crate) fn available_bytes(&self) -> usize {
        self.limit_bytes.saturating_sub(self.used_bytes())
    }

    pub(crate) fn used_bytes(&self) -> usize {
        // One thread charges; the pool threads that drop charges only ever make more room.
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Takes `bytes`, whether or not they are available: for what has already arrived.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge(Arc::new(Held { budget: Arc::clone(self), bytes, _joined: Vec::new() }))
    }
}

/// Bytes of the budget, returned when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Charge(Arc<Held>);

impl Charge {
    /// All of `charges`, until the last clone is dropped.
    pub(crate) fn join(charges: Vec<Charge>) -> Option<Charge> {
        let budget = Arc::clone(&charges.first()?.0.budget);
        Some(Charge(Arc::new(Held { budget, bytes: 0, _joined: charges })))
    }
}

#[derive(Debug)]
struct Held {
    budget: Arc<Budget>,
    bytes: usize,
    _joined: Vec<Charge>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_when_the_last_holder_lets_go() {
        let budget = Budget::new(100);
        let charge = budget.charge(60);
        let second = charge.clone();
        drop(charge);
        assert_eq!(budget.available_bytes(), 40);
        drop(second);
        assert_eq!(budget.available_bytes(), 100);
    }

    #[test]
    fn joined_charges_come_back_together() {
        let budget = Budget::new(100);
        let joined = Charge::join(vec![budget.charge(20), budget.charge(30)]);
        let second = joined.clone();
        drop(joined);
        assert_eq!(budget.used_bytes(), 50);
        drop(second);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn what_has_arrived_is_charged_even_beyond_the_limit() {
        let budget = Budget::new(100);
        let _charge = budget.charge(150);
        assert_eq!(budget.available_bytes(), 0);
        assert_eq!(budget.used_bytes(), 150);
    }
}
