//! What a pipeline tells, as `jotwatch replay --exchanges` writes it.

use jotwatch::{
    event::{Event, ExchangeLine},
    pipeline::Output,
};

/// Events and exchanges, one a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(pub Vec<u8>);

impl Output for Lines {
    fn event(&mut self, event: Event) {
        event.write(&mut self.0);
        self.0.push(b'\n');
    }

    fn wants_exchanges(&self) -> bool {
        true
    }

    fn exchange(&mut self, line: &ExchangeLine<'_>) {
        line.write(&mut self.0);
    }
}
