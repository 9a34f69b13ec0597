//! The room for the frames of all connections together, and for what they are decoded to.
//!
//! One connection may send 100 MiB at a time, as slowly as it likes. Where all of them want more than there is, those
//! whose frames began first are asked to leave: a client that means it is through with a frame in no time, so whoever
//! only holds on to room does not keep the others from it.
//!
//! A frame of up to [`FREE_BYTES`] takes none of the room; the number of connections is bounded by the files that a
//! process may open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What each connection has anyway, to read into.
pub(crate) const FREE_BYTES: usize = 64 << 10;

/// The room of a cluster.
#[derive(Debug)]
pub(crate) struct FrameRoom {
    bytes_max: usize,
    seats: Mutex<Seats>,
    /// Told when somebody has left.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Seats {
    /// Who came first comes first.
    by_turn: BTreeMap<u64, Taken>,
    next_turn: u64,
}

#[derive(Debug)]
struct Taken {
    bytes: usize,
    /// Told when its connection is asked to leave.
    leave: Arc<Notify>,
    leaving: bool,
}

/// More than there is for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl FrameRoom {
    pub(crate) fn new(bytes_max: usize) -> Arc<FrameRoom> {
        Arc::new(FrameRoom { bytes_max, seats: Mutex::default(), freed: Notify::new() })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all frames have now.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.seats().by_turn.values().map(|taken| taken.bytes).sum()
    }
}

/// What one connection has of the room, for the frame it is at.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Arc<FrameRoom>,
    turn: Option<u64>,
    leave: Arc<Notify>,
}

impl Seat {
    pub(crate) fn new(room: &Arc<FrameRoom>) -> Seat {
        Seat { room: Arc::clone(room), turn: None, leave: Arc::default() }
    }

    /// What all have together.
    pub(crate) fn bytes_max(&self) -> usize {
        self.room.bytes_max
    }

    /// Told when this connection is to end, since others need the room.
    pub(crate) fn asked_to_leave(&self) -> Arc<Notify> {
        Arc::clone(&self.leave)
    }

    /// Takes so much of the room in all, once that is free. It will be: others are asked to leave.
    ///
    /// # Errors
    /// [`TooLarge`] if it would not be if all others left.
    pub(crate) async fn hold(&mut self, bytes: usize) -> Result<(), TooLarge> {
        if bytes <= FREE_BYTES {
            return Ok(());
        }
        if bytes > self.room.bytes_max {
            return Err(TooLarge);
        }
        let room = Arc::clone(&self.room);
        loop {
            let freed = room.freed.notified();
            tokio::pin!(freed);
            // From here on it is told, whatever happens before it waits.
            freed.as_mut().enable();
            if self.try_hold(bytes) {
                return Ok(());
            }
            freed.await;
        }
    }

    /// Takes the room if it is free, else asks those for it that have been at their frames for longest.
    fn try_hold(&mut self, bytes: usize) -> bool {
        let mut seats = self.room.seats();
        let turn = *self.turn.get_or_insert_with(|| {
            seats.next_turn += 1;
            seats.next_turn
        });
        let mine = seats.by_turn.entry(turn).or_insert_with(|| Taken {
            bytes: 0,
            leave: Arc::clone(&self.leave),
            leaving: false,
        });
        let before = mine.bytes;
        let free =
            self.room.bytes_max - (seats.by_turn.values().map(|taken| taken.bytes).sum::<usize>() - before);
        if bytes <= free {
            seats.by_turn.entry(turn).and_modify(|mine| mine.bytes = bytes);
            return true;
        }
        let others = |seats: &Seats| {
            seats
                .by_turn
                .iter()
                .filter(|(other, taken)| **other != turn && taken.leaving)
                .map(|(_, it)| it.bytes)
                .sum()
        };
        let mut coming: usize = others(&seats);
        for (other, taken) in &mut seats.by_turn {
            if bytes <= free + coming {
                break;
            }
            if *other != turn && !taken.leaving {
                taken.leaving = true;
                taken.leave.notify_one();
                coming += taken.bytes;
            }
        }
        false
    }

    /// Gives back what it has: the frame is done with.
    pub(crate) fn give_back(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.room.seats().by_turn.remove(&turn);
            self.room.freed.notify_waiters();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn who_has_been_at_a_frame_for_longest_makes_room() {
        let room = FrameRoom::new(10 * MIB);
        let mut seats: Vec<Seat> = (0..4).map(|_| Seat::new(&room)).collect();
        for seat in &mut seats {
            seat.hold(MIB).await.unwrap();
        }
        // The first one grows, which does not make it younger.
        seats[0].hold(3 * MIB).await.unwrap();
        seats[1].hold(5 * MIB).await.unwrap();
        assert_eq!(room.taken_bytes(), 10 * MIB);
        let mut late = Seat::new(&room);
        assert!(!late.try_hold(2 * MIB));
        let asked = |room: &FrameRoom| -> Vec<usize> {
            room.seats().by_turn.values().filter(|taken| taken.leaving).map(|taken| taken.bytes).collect()
        };
        assert_eq!(asked(&room), [3 * MIB]);
        // Asked once, whoever asks; and no more than are needed.
        assert!(!late.try_hold(3 * MIB));
        assert_eq!(asked(&room), [3 * MIB]);
        seats[0].asked_to_leave().notified().await;
        drop(seats.remove(0));
        late.hold(3 * MIB).await.unwrap();
        assert_eq!(room.taken_bytes(), 10 * MIB);
        seats[0].give_back();
        assert_eq!(room.taken_bytes(), 5 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn small_frames_take_nothing_and_too_large_ones_ask_nobody() {
        let room = FrameRoom::new(MIB);
        let (mut one, mut other) = (Seat::new(&room), Seat::new(&room));
        one.hold(FREE_BYTES).await.unwrap();
        assert_eq!(room.taken_bytes(), 0);
        one.hold(MIB).await.unwrap();
        assert_eq!(other.hold(MIB + 1).await, Err(TooLarge));
        assert!(!room.seats().by_turn.values().any(|taken| taken.leaving));
    }

    #[tokio::test(start_paused = true)]
    async fn the_room_is_there_once_those_asked_have_left_and_not_before() {
        let room = FrameRoom::new(10 * MIB);
        let mut holders = Vec::new();
        for _ in 0..100 {
            let mut seat = Seat::new(&room);
            let room = Arc::clone(&room);
            holders.push(tokio::spawn(async move {
                let leave = seat.asked_to_leave();
                let held = async {
                    seat.hold(MIB).await.unwrap();
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    () = held => {}
                    () = leave.notified() => assert!(room.taken_bytes() <= 10 * MIB),
                }
            }));
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        assert_eq!(room.taken_bytes(), 10 * MIB);
        let left = holders.iter().filter(|holder| holder.is_finished()).count();
        assert_eq!(left, 90);
        assert!(holders[..90].iter().all(tokio::task::JoinHandle::is_finished));
    }
}
