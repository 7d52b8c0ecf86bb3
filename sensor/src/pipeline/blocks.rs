//! Working ahead: what the front gives out, gathered, examined, and judged later.
//!
//! A [`Block`] is filled by [`Reading::read`], then every request in it is examined by itself, then
//! it is taken by [`Judging::judge`]. Blocks have to be filled and judged in one order; in between
//! they may be examined in any, and all three may go on at once for different blocks. What comes out
//! is the same as if each input had been pushed.
//!
//! Keys that are learned on the way are the one thing that goes back: a request that was examined
//! with earlier ones is examined again when it is judged.

use super::{
    Output,
    back::Back,
    examine::{Examined, Examiner, Trusted},
    front::Front,
    steps::{Step, Steps},
};
use crate::{capture::Input, http::Request};

/// Steps of a block: some 170 requests, half a millisecond. Shorter ones cost more hand-overs,
/// longer ones fill the caches of the processor. Few in the tests, so that whatever belongs together
/// is torn apart.
const BLOCK_STEPS: usize = if cfg!(test) { 7 } else { 1 << 10 };

/// Bytes of requests in a block. One more input, or the end of the source, may go beyond it by what
/// the connections held until then.
const BLOCK_BYTES: usize = 1 << 20;

/// What happened on connections for a while, in its order, and what was made of the requests.
#[derive(Default)]
pub struct Block {
    steps: Vec<Step>,
    bytes: usize,
    /// Of each request among the steps.
    examined: Vec<Examined>,
    /// Requests that are done with, for their memory.
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    spare: Vec<Box<Request>>,
}

impl Block {
    /// Whether it is time for another one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.steps.len() >= BLOCK_STEPS || self.bytes >= BLOCK_BYTES
    }

    /// Examines its requests, each by itself. To be done once, when it is filled.
    pub fn examine(&mut self, examiner: &mut Examiner) {
        for step in &self.steps {
            if let Step::Request { request, .. } = step {
                self.examined.push(examiner.examine(request));
            }
        }
    }
}

impl Steps for Block {
    fn step(&mut self, step: Step) -> Option<Box<Request>> {
        let is_done = matches!(step, Step::Done { .. });
        self.bytes += step.held_bytes();
        self.steps.push(step);
        if is_done { self.spare.pop() } else { None }
    }
}

/// The half of a pipeline that follows connections.
pub struct Reading<'p>(&'p mut Front);

impl<'p> Reading<'p> {
    pub(super) fn new(front: &'p mut Front) -> Self {
        Self(front)
    }

    /// Takes one observation. What follows from it stands in the block.
    pub fn read(&mut self, input: &Input<'_>, block: &mut Block) {
        self.0.push(input, block);
    }

    /// The source has ended: every connection is closed.
    pub fn finish(&mut self, block: &mut Block) {
        self.0.finish(block);
    }
}

/// The half of a pipeline that judges.
pub struct Judging<'p>(&'p mut Back);

impl<'p> Judging<'p> {
    pub(super) fn new(back: &'p mut Back) -> Self {
        Self(back)
    }

    /// One that examines requests for this pipeline.
    #[must_use]
    pub fn examiner(&self) -> Examiner {
        let mut examiner = Examiner::new(&self.0.shared.settings);
        examiner.trust(self.trusted());
        examiner
    }

    /// What tokens are held against by now.
    #[must_use]
    pub fn trusted(&self) -> Trusted {
        Trusted::of(&self.0.shared.judge)
    }

    /// Takes all of a block, and empties it.
    pub fn judge(&mut self, block: &mut Block, out: &mut impl Output) {
        let mut examined = block.examined.drain(..);
        for step in block.steps.drain(..) {
            let is_request = matches!(step, Step::Request { .. });
            let examined = if is_request { examined.next() } else { None };
            block.spare.extend(self.0.take(step, examined, out));
        }
        block.bytes = 0;
    }
}
