//! A capture file through a pipeline, by one thread or by several.
//!
//! Several threads share the work by stages, not by connections, so that every stage that has a
//! memory still sees everything in the one order:
//!
//! ```text
//! read     the file and the front of the pipeline: packets in, a block out
//! examine  the requests of a block, each by itself
//! judge    the back of the pipeline: a block in, events out
//! ```
//!
//! At any moment one thread at most reads, and one judges, block after block. Blocks are examined
//! in any order, by as many threads as there are. Whoever has nothing to do takes the next block
//! that is ready for anything, so the threads are busy as long as no stage takes more than its
//! share of the whole: two threads take half of the time of one, and beyond three the stages that
//! only one thread may do are the limit. The events come out as they do with one thread, byte for
//! byte, as nothing that is judged depends on when it is judged.
#![forbid(unsafe_code)]

use std::{
    collections::VecDeque,
    num::NonZero,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::{
    capture::file::{CaptureFile, Error},
    pipeline::{Block, Examiner, Output, Pipeline, Reading, Trusted},
};

/// Threads that a file may be read with: more than there is work for.
pub const MAX_THREADS: usize = 64;

/// Blocks that are under way for each thread, and beside: all memory that reading ahead takes.
const BLOCKS_A_THREAD: usize = 2;
const BLOCKS_BESIDE: usize = 2;

/// Where packets come from.
struct Source<'s> {
    front: Reading<'s>,
    capture: &'s mut CaptureFile,
}

impl Source<'_> {
    /// Fills a block. Gives how the file ended, where it did.
    fn read(&mut self, block: &mut Block) -> Option<Result<(), Error>> {
        while !block.is_full() {
            let end = match self.capture.next() {
                Ok(Some(input)) => {
                    self.front.read(&input, block);
                    continue;
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            self.front.finish(block);
            return Some(end);
        }
        None
    }
}

/// A block on its way from the front to the back.
enum Place {
    /// It was read.
    Read(Box<Block>),
    /// Somebody examines it.
    Taken,
    /// It was examined.
    Examined(Box<Block>),
}

/// What there is to do.
enum Task<'s> {
    Read(Source<'s>, Box<Block>),
    /// The block's number.
    Examine(u64, Box<Block>, Trusted),
    Judge(Box<Block>),
    /// Nothing, and nothing to come.
    Nothing,
}

/// What the threads share.
struct Shared<'s> {
    state: Mutex<State<'s>>,
    changed: Condvar,
}

struct State<'s> {
    /// None while somebody reads, and when the file is at its end.
    source: Option<Source<'s>>,
    /// In their order.
    under_way: VecDeque<Place>,
    /// The number of the first of them.
    first: u64,
    /// Empty ones.
    #[expect(clippy::vec_box, reason = "they go from thread to thread")]
    free: Vec<Box<Block>>,
    trusted: Trusted,
    /// How the file ended.
    end: Option<Result<(), Error>>,
    /// Nothing more is wanted, or a thread panicked.
    stopped: bool,
}

/// Who does the work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// The one thread that judges.
    Judge,
    Helper,
}

impl<'s> State<'s> {
    /// The next thing to do for this thread; `None` where it has to wait for others.
    fn task(&mut self, who: Who) -> Option<Task<'s>> {
        if self.stopped {
            return Some(Task::Nothing);
        }
        if who == Who::Judge {
            if let Some(Place::Examined(block)) =
                self.under_way.pop_front_if(|place| matches!(place, Place::Examined(_)))
            {
                self.first += 1;
                return Some(Task::Judge(block));
            }
            if self.end.is_some() && self.under_way.is_empty() {
                return Some(Task::Nothing);
            }
        }
        // Helpers rather read than examine, as the judge needs their next blocks most. It rather
        // examines: what reading needs stays in the caches of who did it last.
        match who {
            Who::Judge => self.examine().or_else(|| self.read()),
            Who::Helper => self.read().or_else(|| self.examine()).or_else(|| {
                let over = self.end.is_some();
                over.then_some(Task::Nothing)
            }),
        }
    }

    fn read(&mut self) -> Option<Task<'s>> {
        if self.free.is_empty() {
            return None;
        }
        let source = self.source.take()?;
        Some(Task::Read(source, self.free.pop()?))
    }

    /// The oldest block that nobody has examined.
    fn examine(&mut self) -> Option<Task<'s>> {
        let at = self.under_way.iter().position(|place| matches!(place, Place::Read(_)))?;
        let place = self.under_way.get_mut(at)?;
        match std::mem::replace(place, Place::Taken) {
            Place::Read(block) => {
                Some(Task::Examine(self.first + at as u64, block, self.trusted.clone()))
            }
            other => {
                *place = other;
                None
            }
        }
    }
}

impl<'s> Shared<'s> {
    fn lock(&self) -> MutexGuard<'_, State<'s>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells the others.
    fn change(&self, change: impl FnOnce(&mut State<'s>)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_for_task(&self, who: Who) -> Task<'s> {
        let mut state = self.lock();
        loop {
            if let Some(task) = state.task(who) {
                return task;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads and examines until there is nothing left of that. The one thread that may judge gets
    /// each block that is to be judged.
    fn help(&self, who: Who, examiner: &mut Examiner) -> Option<Box<Block>> {
        loop {
            match self.wait_for_task(who) {
                Task::Read(mut source, mut block) => {
                    let end = source.read(&mut block);
                    self.change(|state| {
                        state.under_way.push_back(Place::Read(block));
                        match end {
                            None => state.source = Some(source),
                            Some(end) => state.end = Some(end),
                        }
                    });
                }
                Task::Examine(number, mut block, trusted) => {
                    examiner.trust(trusted);
                    block.examine(examiner);
                    self.change(|state| {
                        // It is still there: only what was examined leaves.
                        let at = usize::try_from(number - state.first).unwrap_or(usize::MAX);
                        if let Some(place) = state.under_way.get_mut(at) {
                            *place = Place::Examined(block);
                        }
                    });
                }
                Task::Judge(block) => return Some(block),
                Task::Nothing => return None,
            }
        }
    }
}

/// Stops the others when its thread is over for another reason than that there is nothing to do:
/// they would wait for it for ever.
struct StopsOthers<'a, 's>(&'a Shared<'s>);

impl Drop for StopsOthers<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.change(|state| state.stopped = true);
        }
    }
}

/// Reads a capture file to its end, with so many threads ([`MAX_THREADS`] at most), and closes all
/// connections. What comes out is the same with any number of them. `goes_on` is asked now and then,
/// and where it says no the rest is passed over.
///
/// # Errors
/// The file's: everything before has been read.
///
/// # Panics
/// Where one of the threads does.
pub fn read<O: Output>(
    pipeline: &mut Pipeline,
    capture: &mut CaptureFile,
    threads: NonZero<usize>,
    out: &mut O,
    goes_on: impl Fn(&O) -> bool,
) -> Result<(), Error> {
    let end = match threads.get() {
        1 => loop {
            match capture.next() {
                Ok(Some(input)) => pipeline.push(&input, out),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            if !goes_on(out) {
                break Ok(());
            }
        },
        threads => share(pipeline, capture, threads.min(MAX_THREADS), out, goes_on),
    };
    pipeline.finish(out);
    end
}

/// As [`read`], with several threads.
fn share<O: Output>(
    pipeline: &mut Pipeline,
    capture: &mut CaptureFile,
    threads: usize,
    out: &mut O,
    goes_on: impl Fn(&O) -> bool,
) -> Result<(), Error> {
    let (front, mut judging) = pipeline.halves();
    let blocks = BLOCKS_A_THREAD * threads + BLOCKS_BESIDE;
    let shared = Shared {
        state: Mutex::new(State {
            source: Some(Source { front, capture }),
            under_way: VecDeque::with_capacity(blocks),
            first: 0,
            free: (0..blocks).map(|_| Box::default()).collect(),
            trusted: judging.trusted(),
            end: None,
            stopped: false,
        }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        let _stops_others = StopsOthers(&shared);
        for _ in 1..threads {
            let (shared, mut examiner) = (&shared, judging.examiner());
            scope.spawn(move || {
                let _stops_others = StopsOthers(shared);
                shared.help(Who::Helper, &mut examiner);
            });
        }
        let mut examiner = judging.examiner();
        while let Some(mut block) = shared.help(Who::Judge, &mut examiner) {
            judging.judge(&mut block, out);
            let goes_on = goes_on(out);
            let trusted = judging.trusted();
            shared.change(|state| {
                state.free.push(block);
                state.stopped |= !goes_on;
                if state.trusted != trusted {
                    state.trusted = trusted;
                }
            });
        }
    });
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.end.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests;
