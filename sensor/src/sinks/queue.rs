//! The queue between the pipeline and the journal: bounded by bytes, and never waited for by who
//! fills it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel},
    },
    time::Duration,
};

use crate::event::Event;

/// Bytes of events between the pipeline and the journal at most, as [`Event::footprint`] counts
/// them: a hundred thousand alerts of a usual size, so that a burst of as many within a second loses
/// none even where the journal's thread gets no processor for that second. What comes while as many
/// wait is dropped and counted: the disk, or the processor, does not keep up.
pub const QUEUE_BYTES: usize = 192 << 20;

/// What the queue carries.
pub(super) enum Message {
    /// An event to tell of.
    Event(Event),
    /// Alerts are joined within this time from now on.
    Join(Duration),
    /// What is held back is told of now; answered when all before is in the journal, with whether it
    /// is on disk.
    Flush(SyncSender<bool>),
}

/// The end that is filled.
pub(super) struct Queue {
    to: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

/// The end that is emptied.
pub(super) struct Waiting {
    from: Receiver<Message>,
    bytes: Arc<AtomicUsize>,
}

/// A queue of so many bytes of events.
pub(super) fn queue(limit: usize) -> (Queue, Waiting) {
    // Its own bound would be a count, and its room would be taken from the start.
    let (to, from) = channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let bytes = Arc::clone(&waiting);
    (Queue { to, waiting, limit }, Waiting { from, bytes })
}

impl Queue {
    /// Whether there was room.
    pub(super) fn push(&self, event: Event) -> bool {
        let bytes = event.footprint();
        // One thread fills it: nobody else takes the room meanwhile.
        if self.waiting.load(Relaxed) + bytes > self.limit {
            return false;
        }
        self.waiting.fetch_add(bytes, Relaxed);
        self.to.send(Message::Event(event)).is_ok()
    }

    /// For messages that are no events.
    pub(super) fn sender(&self) -> Sender<Message> {
        self.to.clone()
    }

    pub(super) fn set_join(&self, length: Duration) {
        // Nobody is there to join anything where it fails.
        let _ = self.to.send(Message::Join(length));
    }
}

impl Waiting {
    /// The next one, if one comes in time.
    pub(super) fn pop_within(&self, wait: Duration) -> Result<Message, RecvTimeoutError> {
        self.from.recv_timeout(wait).inspect(|message| self.gone(message))
    }

    /// Those that are there, and come meanwhile.
    pub(super) fn pop_ready(&self) -> impl Iterator<Item = Message> {
        self.from.try_iter().inspect(|message| self.gone(message))
    }

    fn gone(&self, message: &Message) {
        if let Message::Event(event) = message {
            self.bytes.fetch_sub(event.footprint(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;

    #[test]
    fn it_holds_bytes_and_not_a_count() {
        let (small, large) = (samples::request(), samples::hostile());
        assert!(large.footprint() > 10 * small.footprint());
        for event in [small, large] {
            let room = 10;
            let (queue, waiting) = queue(room * event.footprint() + 7);
            for _ in 0..room {
                assert!(queue.push(event.clone()));
            }
            assert!(!queue.push(event.clone()));
            queue.set_join(Duration::ZERO);
            // What leaves makes room for as much, and no more.
            let taken = waiting.pop_within(Duration::ZERO).into_iter();
            let taken = taken.chain(waiting.pop_ready().take(2)).count();
            assert_eq!(taken, 3);
            assert_eq!((0..5).filter(|_| queue.push(event.clone())).count(), 3);
            drop(queue);
            let rest = waiting.pop_ready().collect::<Vec<_>>();
            assert_eq!(rest.len(), room + 1);
            assert!(matches!(rest[room - 3], Message::Join(Duration::ZERO)));
            assert_eq!(waiting.bytes.load(Relaxed), 0);
        }
    }
}
