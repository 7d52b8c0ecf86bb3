//! Feeds the readers of records that live capture keeps to itself; see [`crate::fuzz`].
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what does not hold shall fail")]

use jotwatch_common::Record;

use super::{btf, record::Decoder, service::Services};
use crate::{capture::Input, fuzz::Script};

/// Records, each behind its length; or a kernel's BTF.
pub(crate) fn records(data: &[u8]) {
    let _offsets = btf::find(data, &[("sock", "sk_state"), ("inet_sock", "inet_dport")]);
    let mut decoder = Decoder::new();
    let mut services = Services::unanswered();
    let mut script = Script(data);
    while !script.is_empty() {
        let bytes = script.bytes();
        // The ring's records lie at multiples of eight bytes.
        let mut aligned = vec![0_u64; bytes.len().div_ceil(8)];
        let all: &mut [u8] = bytemuck::cast_slice_mut(&mut aligned);
        all[..bytes.len()].copy_from_slice(bytes);
        let mut given = 0;
        decoder.decode(&all[..bytes.len()], &mut services, &mut |input| {
            given += 1;
            if let Input::Segment(segment) = input {
                assert!(segment.payload.len() + size_of::<Record>() <= bytes.len());
            }
        });
        assert!(given <= 2);
    }
}
