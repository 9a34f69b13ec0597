//! The room for the frames of all connections together: one for requests, with what they are decoded to, and one for
//! answers that are not read yet.
//!
//! Where there is too little, newcomers wait: their sockets are not read, as with Kafka's `queued.max.request.bytes`.
//! Who has room and goes on is let finish. Only where somebody waits, those are asked to leave that have sent next to
//! nothing for [`PATIENCE`], and first those that sent the least against what they hold. Where all that have room wait
//! for more of it, so that nobody would ever go on, the least of them is asked at once.
//!
//! An answer is there before its size is known, so it cannot wait: whoever has stood still for [`PATIENCE`] leaves for it,
//! and where nobody has, it finds no room.
//!
//! A frame of up to [`FREE_BYTES`] takes none of the room; the number of connections is bounded by the files that a
//! process may open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// What each connection has anyway, to read into.
pub(crate) const FREE_BYTES: usize = 64 << 10;
/// How long one that has room may stand still while others wait for it, by tokio's clock. A client gives up after 30 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// In so many steps of [`PATIENCE`] at most whoever goes on is through. Less than such a part of what it holds is no step:
/// a client that needs longer has given up by itself.
const STEPS: usize = 8;

/// The room of a cluster.
#[derive(Debug)]
pub(crate) struct FrameRoom {
    bytes_max: usize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    /// Who came first comes first.
    by_turn: BTreeMap<u64, Taken>,
    next_turn: u64,
    taken_bytes: usize,
    /// How many have some of the room.
    holders: usize,
    /// Who has some of the room and waits for more, and who has none yet.
    growing: BTreeSet<u64>,
    new: BTreeSet<u64>,
}

#[derive(Debug)]
struct Taken {
    bytes: usize,
    received_bytes: usize,
    /// The last step, and how much had come by then.
    stepped: Instant,
    stepped_bytes: usize,
    voice: Arc<Voice>,
}

/// What a seat is told.
#[derive(Debug, Default)]
struct Voice {
    /// It is to leave, for as long as it has what it has.
    leave: watch::Sender<bool>,
    /// It may try again.
    freed: Notify,
}

impl Voice {
    fn is_leaving(&self) -> bool {
        *self.leave.borrow()
    }
}

/// More than there is for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// What a try to get room led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Held,
    /// Until it is told, or until then at the latest.
    Wait(Option<Instant>),
}

impl FrameRoom {
    pub(crate) fn new(bytes_max: usize) -> Arc<FrameRoom> {
        Arc::new(FrameRoom { bytes_max, seats: Mutex::default() })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all frames have now.
    pub(crate) fn taken_bytes(&self) -> usize {
        self.seats().taken_bytes
    }
}

impl Seats {
    /// Tells those who are next that there may be room.
    fn wake(&self) {
        let newest = self.new.first().filter(|_| self.growing.is_empty());
        for turn in self.growing.iter().chain(newest) {
            self.by_turn[turn].voice.freed.notify_one();
        }
    }

    /// Takes so much now, by asking those to leave that have stood still; `false` if they have too little.
    fn take_now(&mut self, turn: u64, bytes: usize, bytes_max: usize, now: Instant) -> bool {
        let holders = || self.by_turn.iter().filter(|(_, taken)| taken.bytes > 0);
        let leaving = holders().filter(|(_, taken)| taken.voice.is_leaving()).map(|(_, taken)| taken.bytes);
        let mut missing = (self.taken_bytes + bytes).saturating_sub(bytes_max + leaving.sum::<usize>());
        let still = holders().filter(|(_, taken)| !taken.voice.is_leaving());
        let mut still: Vec<(&u64, &Taken)> =
            still.filter(|(_, taken)| taken.stepped + PATIENCE <= now).collect();
        if still.iter().map(|(_, taken)| taken.bytes).sum::<usize>() < missing {
            return false;
        }
        still.sort_unstable_by_key(|(turn, taken)| taken.rank(**turn));
        for (_, taken) in still {
            if missing == 0 {
                break;
            }
            taken.voice.leave.send_replace(true);
            missing = missing.saturating_sub(taken.bytes);
        }
        if let Some(taken) = self.by_turn.get_mut(&turn) {
            taken.bytes = bytes;
            self.taken_bytes += bytes;
            self.holders += 1;
        }
        true
    }

    fn leave(&mut self, turn: u64) {
        self.growing.remove(&turn);
        self.new.remove(&turn);
        if let Some(taken) = self.by_turn.remove(&turn) {
            self.taken_bytes -= taken.bytes;
            self.holders -= usize::from(taken.bytes > 0);
            taken.voice.leave.send_replace(false);
        }
        self.wake();
    }

    /// Takes so much in all, if it is free and nobody goes before.
    fn take(&mut self, turn: u64, bytes: usize, bytes_max: usize, now: Instant) -> bool {
        let before = self.by_turn[&turn].bytes;
        let goes_before =
            before == 0 && (!self.growing.is_empty() || self.new.first().is_some_and(|first| *first < turn));
        if self.taken_bytes - before + bytes > bytes_max || goes_before {
            let waiting = if before == 0 { &mut self.new } else { &mut self.growing };
            waiting.insert(turn);
            return false;
        }
        self.growing.remove(&turn);
        self.new.remove(&turn);
        if let Some(taken) = self.by_turn.get_mut(&turn) {
            taken.bytes = bytes;
            // What it could not read while it waited is not its fault.
            taken.stepped = now;
        }
        self.taken_bytes = self.taken_bytes - before + bytes;
        self.holders += usize::from(before == 0 && bytes > 0);
        self.wake();
        true
    }

    /// Asks whoever has to leave for `turn` to have so much; when there may be somebody to ask.
    fn ask(&self, turn: u64, bytes: usize, bytes_max: usize, now: Instant) -> Option<Instant> {
        let mine = &self.by_turn[&turn];
        // One that leaves needs nothing, and all but the first are not next.
        let first = self.growing.first().or(self.new.first());
        let stuck = self.holders > 0 && self.growing.len() == self.holders;
        if mine.voice.is_leaving() || !(stuck || first == Some(&turn)) {
            return None;
        }
        let holders = || self.by_turn.iter().filter(|(_, taken)| taken.bytes > 0);
        let leaving = holders().filter(|(_, taken)| taken.voice.is_leaving()).map(|(_, taken)| taken.bytes);
        let mut coming: usize = leaving.sum();
        if stuck {
            // One is enough for others to go on.
            if coming == 0
                && let Some((_, least)) = holders().min_by_key(|(turn, taken)| taken.rank(**turn))
            {
                least.voice.leave.send_replace(true);
            }
            return None;
        }
        let free = bytes_max + mine.bytes - self.taken_bytes;
        let mut still: Vec<(&u64, &Taken)> = holders()
            .filter(|(other, taken)| !taken.voice.is_leaving() && !self.growing.contains(other))
            .collect();
        still.sort_unstable_by_key(|(turn, taken)| taken.rank(**turn));
        let mut next: Option<Instant> = None;
        for (_, taken) in still {
            if bytes <= free + coming {
                break;
            }
            let patience_ends = taken.stepped + PATIENCE;
            if patience_ends <= now {
                taken.voice.leave.send_replace(true);
                coming += taken.bytes;
            } else {
                next = Some(next.map_or(patience_ends, |next| next.min(patience_ends)));
            }
        }
        next
    }
}

impl Taken {
    /// The least is the first to leave: who sent the least against what it holds, in thousandths, and of those the last.
    fn rank(&self, turn: u64) -> (usize, std::cmp::Reverse<u64>) {
        (self.received_bytes.saturating_mul(1000) / self.bytes.max(1), std::cmp::Reverse(turn))
    }
}

/// What one connection has of the room, for the frame it is at.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Arc<FrameRoom>,
    turn: Option<u64>,
    voice: Arc<Voice>,
}

impl Seat {
    pub(crate) fn new(room: &Arc<FrameRoom>) -> Seat {
        Seat { room: Arc::clone(room), turn: None, voice: Arc::default() }
    }

    /// What all have together.
    pub(crate) fn bytes_max(&self) -> usize {
        self.room.bytes_max
    }

    /// True while this connection is to end, since others need the room.
    pub(crate) fn asked_to_leave(&self) -> watch::Receiver<bool> {
        self.voice.leave.subscribe()
    }

    /// Takes so much of the room in all, once that is free. It will be: who goes on is through some time, and who does
    /// not is asked to leave.
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
        loop {
            // Who is told meanwhile has a permit.
            match self.try_hold(bytes) {
                Tried::Held => return Ok(()),
                Tried::Wait(None) => self.voice.freed.notified().await,
                Tried::Wait(Some(at)) => {
                    // Either way there is something to try.
                    let _ = tokio::time::timeout_at(at, self.voice.freed.notified()).await;
                }
            }
        }
    }

    /// Takes so much of the room at once, having none of it; `false` if there is too little.
    pub(crate) fn take_now(&mut self, bytes: usize) -> bool {
        if bytes <= FREE_BYTES {
            return true;
        }
        let now = Instant::now();
        let room = Arc::clone(&self.room);
        let mut seats = room.seats();
        let turn = self.sit(&mut seats, now);
        let taken = seats.take_now(turn, bytes, room.bytes_max, now);
        if !taken {
            self.turn = None;
            seats.leave(turn);
        }
        taken
    }

    /// Its turn, a new one if it has none.
    fn sit(&mut self, seats: &mut Seats, now: Instant) -> u64 {
        let turn = *self.turn.get_or_insert_with(|| {
            seats.next_turn += 1;
            seats.next_turn
        });
        seats.by_turn.entry(turn).or_insert_with(|| Taken {
            bytes: 0,
            received_bytes: 0,
            stepped: now,
            stepped_bytes: 0,
            voice: Arc::clone(&self.voice),
        });
        turn
    }

    fn try_hold(&mut self, bytes: usize) -> Tried {
        let now = Instant::now();
        let room = Arc::clone(&self.room);
        let mut seats = room.seats();
        let turn = self.sit(&mut seats, now);
        if seats.take(turn, bytes, room.bytes_max, now) {
            return Tried::Held;
        }
        Tried::Wait(seats.ask(turn, bytes, room.bytes_max, now))
    }

    /// It is to leave.
    pub(crate) fn is_asked_to_leave(&self) -> bool {
        self.voice.is_leaving()
    }

    /// So much of the frame is there by now, or gone.
    pub(crate) fn received(&mut self, bytes: usize) {
        let Some(turn) = self.turn else { return };
        if let Some(taken) = self.room.seats().by_turn.get_mut(&turn) {
            taken.received_bytes = bytes;
            if bytes >= taken.stepped_bytes + taken.bytes / STEPS {
                (taken.stepped, taken.stepped_bytes) = (Instant::now(), bytes);
            }
        }
    }

    /// Gives back all but so much, if it has more: the request is done with, what is left of it waits.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        if bytes <= FREE_BYTES {
            return self.give_back();
        }
        let Some(turn) = self.turn else { return };
        let mut seats = self.room.seats();
        if let Some(taken) = seats.by_turn.get_mut(&turn) {
            let less = taken.bytes.saturating_sub(bytes);
            taken.bytes -= less;
            seats.taken_bytes -= less;
            seats.wake();
        }
    }

    /// Gives back what it has: the frame is done with.
    pub(crate) fn give_back(&mut self) {
        if let Some(turn) = self.turn.take() {
            self.room.seats().leave(turn);
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

    fn seats(room: &Arc<FrameRoom>, count: usize) -> Vec<Seat> {
        (0..count).map(|_| Seat::new(room)).collect()
    }

    fn asked(seats: &[Seat]) -> Vec<bool> {
        seats.iter().map(|seat| seat.voice.is_leaving()).collect()
    }

    /// Whether it waits.
    fn waits(seat: &mut Seat, bytes: usize) -> bool {
        seat.try_hold(bytes) != Tried::Held
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_on_is_let_finish_and_who_stands_still_makes_room() {
        let room = FrameRoom::new(4 * MIB);
        let mut holders = seats(&room, 4);
        for (index, seat) in holders.iter_mut().enumerate() {
            seat.hold(MIB).await.unwrap();
            seat.received(MIB * (index + 1) / 8);
        }
        let mut late = Seat::new(&room);
        assert!(waits(&mut late, 2 * MIB));
        assert_eq!(asked(&holders), [false; 4]);
        tokio::time::advance(PATIENCE - Duration::from_millis(1)).await;
        holders[0].received(MIB / 8 + MIB / STEPS);
        // A byte now and then is no step.
        holders[1].received(MIB / 4 + MIB / STEPS - 1);
        assert!(waits(&mut late, 2 * MIB));
        assert_eq!(asked(&holders), [false; 4]);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(waits(&mut late, 2 * MIB));
        // Those that sent the least of what they hold, and no more than are needed.
        assert_eq!(asked(&holders), [false, true, true, false]);
        assert!(waits(&mut late, 2 * MIB));
        assert_eq!(asked(&holders), [false, true, true, false]);
        // One that is through by itself is asked no more.
        holders[1].give_back();
        assert_eq!(asked(&holders), [false, false, true, false]);
        drop(holders.remove(2));
        assert!(!waits(&mut late, 2 * MIB));
        assert_eq!(room.taken_bytes(), 4 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_need_more_than_eight_steps_for_what_it_holds_does_not_go_on() {
        for (step_bytes, leaves) in [(MIB / 8 - 1, true), (MIB / 8, false)] {
            let room = FrameRoom::new(MIB);
            let (mut slow, mut late) = (Seat::new(&room), Seat::new(&room));
            slow.hold(MIB).await.unwrap();
            tokio::time::advance(PATIENCE - Duration::from_millis(1)).await;
            slow.received(step_bytes);
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(waits(&mut late, MIB));
            assert_eq!(slow.voice.is_leaving(), leaves, "{step_bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_wait_for_more_the_least_of_them_makes_room_at_once() {
        let room = FrameRoom::new(3 * MIB);
        let mut holders = seats(&room, 3);
        for (index, seat) in holders.iter_mut().enumerate() {
            seat.hold(MIB).await.unwrap();
            seat.received(MIB - index);
        }
        assert!(waits(&mut holders[0], 2 * MIB) && waits(&mut holders[1], 2 * MIB));
        assert_eq!(asked(&holders), [false; 3]);
        assert!(waits(&mut holders[2], 2 * MIB));
        assert_eq!(asked(&holders), [false, false, true]);
        holders.pop();
        assert!(!waits(&mut holders[1], 2 * MIB) && waits(&mut holders[0], 2 * MIB));
        // One goes on, and nobody else needs to leave.
        assert_eq!(asked(&holders), [false; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_first_gets_room_first_and_who_has_some_before_all() {
        let room = FrameRoom::new(3 * MIB);
        let mut holders = seats(&room, 3);
        for seat in &mut holders {
            seat.hold(MIB).await.unwrap();
        }
        let (mut first, mut second) = (Seat::new(&room), Seat::new(&room));
        assert!(waits(&mut first, 2 * MIB) && waits(&mut second, MIB));
        holders.pop();
        assert!(waits(&mut second, MIB) && waits(&mut first, 2 * MIB));
        assert!(!waits(&mut holders[0], 2 * MIB));
        holders.clear();
        assert!(waits(&mut second, MIB) && !waits(&mut first, 2 * MIB) && !waits(&mut second, MIB));
    }

    #[tokio::test(start_paused = true)]
    async fn small_frames_take_nothing_and_too_large_ones_ask_nobody() {
        let room = FrameRoom::new(MIB);
        let mut both = seats(&room, 2);
        both[0].hold(FREE_BYTES).await.unwrap();
        assert_eq!(room.taken_bytes(), 0);
        both[0].hold(MIB).await.unwrap();
        both[0].shrink_to(MIB / 2);
        assert_eq!(room.taken_bytes(), MIB / 2);
        both[0].shrink_to(FREE_BYTES);
        assert_eq!(room.taken_bytes(), 0);
        both[0].hold(MIB).await.unwrap();
        assert_eq!(both[1].hold(MIB + 1).await, Err(TooLarge));
        assert_eq!(asked(&both), [false; 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_already_takes_the_place_of_who_stands_still_or_none() {
        let room = FrameRoom::new(3 * MIB);
        let mut holders = seats(&room, 3);
        for seat in &mut holders {
            assert!(seat.take_now(MIB));
        }
        let mut late = Seat::new(&room);
        assert!(late.take_now(FREE_BYTES) && !late.take_now(MIB));
        tokio::time::advance(PATIENCE).await;
        holders[0].received(MIB / 2);
        assert!(!late.take_now(3 * MIB));
        assert_eq!(asked(&holders), [false; 3]);
        assert!(late.take_now(MIB));
        assert_eq!(asked(&holders), [false, false, true]);
        // Who leaves already has left for somebody.
        let mut next = Seat::new(&room);
        assert!(next.take_now(MIB));
        assert_eq!(asked(&holders), [false, true, true]);
        holders.truncate(1);
        assert_eq!(room.taken_bytes(), 3 * MIB);
        drop((holders, late, next));
        assert_eq!(room.taken_bytes(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_that_each_go_on_are_all_served_in_turn() {
        let room = FrameRoom::new(12 * MIB);
        let served = (0..100).map(|index| {
            let mut seat = Seat::new(&room);
            let room = Arc::clone(&room);
            tokio::spawn(async move {
                let mut leave = seat.asked_to_leave();
                let work = async {
                    seat.hold(MIB).await.unwrap();
                    for step in 1..=4 {
                        assert!(room.taken_bytes() <= 12 * MIB);
                        tokio::time::sleep(PATIENCE - Duration::from_millis(index)).await;
                        seat.received(step * MIB / 4);
                    }
                    seat.give_back();
                };
                tokio::select! {
                    () = work => true,
                    _ = leave.wait_for(|leave| *leave) => false,
                }
            })
        });
        let served: Vec<_> = served.collect();
        let mut through = 0;
        for task in served {
            through += usize::from(task.await.unwrap());
        }
        assert_eq!(through, 100);
        assert_eq!(room.taken_bytes(), 0);
    }
}
