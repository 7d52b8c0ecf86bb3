use proptest::prelude::*;

use super::{MAX_IPV6_EXTENSIONS, MAX_VLAN_TAGS, Packet, Skip, decode};

/// A TCP segment of port 40000 to 8080 with `options` words of options.
pub(crate) fn tcp(flags: u8, options: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x9c, 0x40, 0x1f, 0x90, 1, 2, 3, 4, 5, 6, 7, 8];
    out.extend([(5 + options) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend(vec![1; usize::from(options) * 4]);
    out.extend(payload);
    out
}

/// An IPv4 packet of 10.0.0.1 to 10.0.0.2 with `options` words of options.
pub(crate) fn ipv4(options: u8, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + usize::from(options) * 4 + payload.len()).unwrap_or(0);
    let mut out = vec![0x45 + options, 0];
    out.extend(len.to_be_bytes());
    out.extend([0, 1]);
    out.extend(fragment.to_be_bytes());
    out.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    out.extend(vec![1; usize::from(options) * 4]);
    out.extend(payload);
    out
}

pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x60, 0, 0, 0];
    out.extend(u16::try_from(payload.len()).unwrap_or(0).to_be_bytes());
    out.extend([next, 64]);
    out.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    out.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    out.extend(payload);
    out
}

pub(crate) fn ethernet(tags: &[(u16, u16)], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![2; 12];
    for (tag, id) in tags {
        out.extend(tag.to_be_bytes());
        out.extend(id.to_be_bytes());
    }
    out.extend(ethertype.to_be_bytes());
    out.extend(payload);
    out
}

fn whole(link: u16, frame: &[u8]) -> Result<Packet, Skip> {
    decode(link, frame, u32::try_from(frame.len()).unwrap())
}

#[track_caller]
fn reads(link: u16, frame: &[u8], src: &str, scope: u64) {
    let packet = whole(link, frame).unwrap();
    assert_eq!(packet.src, src.parse().unwrap());
    assert_eq!(packet.dst.port(), 8080);
    assert_eq!(packet.scope, scope);
    assert_eq!((packet.seq, packet.ack), (0x0102_0304, Some(0x0506_0708)));
    assert!(!packet.flags.syn && packet.flags.fin && !packet.flags.rst);
    assert_eq!(packet.len, 5);
    assert_eq!(&frame[packet.payload], b"hello");
}

const V4: &str = "10.0.0.1:40000";
const V6: &str = "[fd00::1]:40000";

fn hello4() -> Vec<u8> {
    ipv4(0, 0x4000, 6, &tcp(0x19, 0, b"hello"))
}

fn hello6() -> Vec<u8> {
    ipv6(6, &tcp(0x19, 0, b"hello"))
}

#[test]
fn reads_every_link_type() {
    reads(1, &ethernet(&[], 0x0800, &hello4()), V4, 0);
    reads(1, &ethernet(&[], 0x86dd, &hello6()), V6, 0);
    for link in [12, 14, 101] {
        reads(link, &hello4(), V4, 0);
        reads(link, &hello6(), V6, 0);
    }
    reads(228, &hello4(), V4, 0);
    reads(229, &hello6(), V6, 0);
    let mut v1 = vec![0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 8, 0];
    v1.extend(hello4());
    reads(113, &v1, V4, 0);
    let mut v2 = vec![0x86, 0xdd, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0];
    v2.extend(hello6());
    reads(276, &v2, V6, 0);
    for (family, ip, src) in [
        ([2, 0, 0, 0], hello4(), V4),
        ([0, 0, 0, 2], hello4(), V4),
        ([30, 0, 0, 0], hello6(), V6),
        ([0, 0, 0, 24], hello6(), V6),
    ] {
        for link in [0, 108] {
            reads(link, &[&family[..], &ip].concat(), src, 0);
        }
    }
}

#[test]
fn passes_over_vlan_tags_up_to_the_limit() {
    reads(1, &ethernet(&[(0x8100, 0xa064)], 0x0800, &hello4()), V4, 100);
    reads(1, &ethernet(&[(0x88a8, 7), (0x8100, 9)], 0x86dd, &hello6()), V6, (7 << 12) | 9);
    let mut tagged = vec![0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0, 0x81, 0, 0, 5, 8, 0];
    tagged.extend(hello4());
    reads(113, &tagged, V4, 5);
    let most = vec![(0x8100, 1); MAX_VLAN_TAGS];
    assert!(whole(1, &ethernet(&most, 0x0800, &hello4())).is_ok());
    let more = vec![(0x8100, 1); MAX_VLAN_TAGS + 1];
    assert_eq!(whole(1, &ethernet(&more, 0x0800, &hello4())), Err(Skip::NotIp));
}

#[test]
fn passes_over_options() {
    reads(101, &ipv4(10, 0, 6, &tcp(0x19, 10, b"hello")), V4, 0);
}

#[test]
fn ethernet_padding_is_no_payload() {
    let mut frame = ethernet(&[], 0x0800, &ipv4(0, 0, 6, &tcp(0x10, 0, b"")));
    frame.resize(60, 0xee);
    let packet = whole(1, &frame).unwrap();
    assert_eq!((packet.len, packet.payload.len()), (0, 0));
}

#[test]
fn snap_length_leaves_the_length_on_the_wire() {
    let frame = ethernet(&[], 0x0800, &ipv4(0, 0, 6, &tcp(0x10, 0, &[b'x'; 1_000])));
    let packet = decode(1, &frame[..96], 1_054).unwrap();
    assert_eq!((packet.len, packet.payload), (1_000, 54..96));
    // Exactly the headers; then one byte less.
    assert_eq!(decode(1, &frame[..54], 1_054).unwrap().payload.len(), 0);
    assert_eq!(decode(1, &frame[..53], 1_054), Err(Skip::Cut));
    assert_eq!(decode(1, &frame[..10], 1_054), Err(Skip::Cut));
}

#[test]
fn length_zero_is_offload_where_the_packet_is_large() {
    for (len, expect) in [(1_400, Err(Skip::Malformed)), (20_000, Ok(20_000))] {
        let mut v4 = ipv4(0, 0, 6, &tcp(0x10, 0, &vec![b'x'; len]));
        v4[2..4].fill(0);
        assert_eq!(whole(101, &v4).map(|p| p.len), expect);
        let mut v6 = ipv6(6, &tcp(0x10, 0, &vec![b'x'; len]));
        v6[4..6].fill(0);
        assert_eq!(whole(101, &v6).map(|p| p.len), expect);
    }
}

#[test]
fn lengths_that_contradict_each_other_are_malformed() {
    let mut longer = hello4();
    longer[3] += 1;
    assert_eq!(whole(101, &longer), Err(Skip::Malformed));
    let mut shorter = hello4();
    shorter[3] = 39;
    assert_eq!(whole(101, &shorter), Err(Skip::Malformed));
    let mut header = hello4();
    header[0] = 0x44;
    assert_eq!(whole(101, &header), Err(Skip::Malformed));
    let mut offset = hello4();
    offset[32] = 0x40;
    assert_eq!(whole(101, &offset), Err(Skip::Malformed));
    offset[32] = 0xf0;
    assert_eq!(whole(101, &offset), Err(Skip::Malformed));
    assert_eq!(whole(1, &ethernet(&[], 0x0800, &hello6())), Err(Skip::Malformed));
}

#[test]
fn fragments_are_not_read_unless_they_are_whole() {
    assert_eq!(whole(101, &ipv4(0, 0x2000, 6, &tcp(0x10, 0, b"x"))), Err(Skip::Fragment));
    assert_eq!(whole(101, &ipv4(0, 0x0003, 6, &tcp(0x10, 0, b"x"))), Err(Skip::Fragment));
    let fragment = |offset: u16| {
        let mut out = vec![6, 0];
        out.extend(offset.to_be_bytes());
        out.extend([0, 0, 0, 1]);
        out.extend(tcp(0x19, 0, b"hello"));
        ipv6(44, &out)
    };
    reads(101, &fragment(0), V6, 0);
    assert_eq!(whole(101, &fragment(1)), Err(Skip::Fragment));
    assert_eq!(whole(101, &fragment(8)), Err(Skip::Fragment));
}

#[test]
fn passes_over_ipv6_extension_headers_up_to_the_limit() {
    let chain = |headers: &[u8]| {
        let mut out = Vec::new();
        for k in 0..headers.len() {
            let next = headers.get(k + 1).copied().unwrap_or(6);
            // Authentication headers count in 4 bytes, less 2; the others in 8, less 1.
            out.extend(if headers[k] == 51 { [next, 4] } else { [next, 2] });
            out.extend([0; 22]);
        }
        out.extend(tcp(0x19, 0, b"hello"));
        ipv6(headers.first().copied().unwrap_or(6), &out)
    };
    reads(101, &chain(&[0, 43, 60, 51, 135]), V6, 0);
    reads(101, &chain(&[60; MAX_IPV6_EXTENSIONS]), V6, 0);
    assert_eq!(whole(101, &chain(&[60; MAX_IPV6_EXTENSIONS + 1])), Err(Skip::Malformed));
    assert_eq!(whole(101, &chain(&[0, 58])), Err(Skip::NotTcp));
}

#[test]
fn names_what_is_not_read() {
    assert_eq!(whole(105, &hello4()), Err(Skip::LinkType));
    assert_eq!(whole(1, &ethernet(&[], 0x0806, &[0; 28])), Err(Skip::NotIp));
    assert_eq!(whole(101, &[0x50; 40]), Err(Skip::NotIp));
    assert_eq!(whole(0, &[7, 0, 0, 0, 1, 2]), Err(Skip::NotIp));
    assert_eq!(whole(101, &ipv4(0, 0, 17, &[0; 20])), Err(Skip::NotTcp));
}

/// A frame of each shape, with its link type.
fn samples() -> Vec<(u16, Vec<u8>)> {
    let mut extended = vec![6, 0, 0, 0, 0, 0, 0, 0];
    extended.extend(tcp(0x18, 3, b"hello"));
    vec![
        (1, ethernet(&[(0x88a8, 7), (0x8100, 9)], 0x0800, &hello4())),
        (101, ipv4(3, 0, 6, &tcp(0x18, 3, b"hello"))),
        (229, ipv6(60, &extended)),
        (0, [&[2, 0, 0, 0], &hello4()[..]].concat()),
    ]
}

#[test]
fn every_prefix_is_cut_or_carries_a_prefix_of_the_payload() {
    for (link, frame) in samples() {
        let all = whole(link, &frame).unwrap();
        for cut in 0..frame.len() {
            match decode(link, &frame[..cut], u32::try_from(frame.len()).unwrap()) {
                Ok(packet) => {
                    // Where the cut is among the TCP options, there is no payload.
                    assert_eq!(packet.len, all.len);
                    assert_eq!(packet.payload.len(), cut.saturating_sub(all.payload.start));
                    assert_eq!(packet.payload.end, cut);
                }
                Err(skip) => assert_eq!((skip, cut < all.payload.start), (Skip::Cut, true)),
            }
            // The same bytes as a whole frame contradict their own length.
            assert_eq!(whole(link, &frame[..cut]), Err(Skip::Malformed));
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_keep_within_the_frame(
        link in prop::sample::select(vec![0_u16, 1, 12, 14, 101, 108, 113, 228, 229, 276, 7]),
        frame in prop::collection::vec(any::<u8>(), 0..200),
        wire: u32,
    ) {
        if let Ok(packet) = decode(link, &frame, wire) {
            prop_assert!(frame.get(packet.payload.clone()).is_some());
            prop_assert!(packet.payload.len() <= packet.len as usize);
        }
    }

    #[test]
    fn any_changed_bytes_keep_within_the_frame(
        sample in 0..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        wire in 0..100_u32,
    ) {
        let (link, mut frame) = samples().swap_remove(sample);
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        if let Ok(packet) = decode(link, &frame, wire) {
            prop_assert!(frame.get(packet.payload.clone()).is_some());
            prop_assert!(packet.payload.len() <= packet.len as usize);
        }
    }
}
