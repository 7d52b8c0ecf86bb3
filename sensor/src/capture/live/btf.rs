//! Looks up one thing in the running kernel's BTF: the offsets of structures' members.
//!
//! Format: Documentation/bpf/btf.rst of the Linux kernel.

/// Where the kernel publishes its types.
pub(super) const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;

/// Offset in bytes of each `(structure, member)`; anonymous structures and unions inside are
/// looked through. `None` if the kernel has no BTF, or lacks one of the members.
pub(super) fn member_offsets<const N: usize>(wanted: &[(&str, &str); N]) -> Option<[u32; N]> {
    find(&std::fs::read(VMLINUX).ok()?, wanted)
}

struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
}

#[derive(Clone, Copy)]
struct Type<'a> {
    name: u32,
    kind: u32,
    flag: bool,
    members: &'a [u8],
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(b.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

impl<'a> Btf<'a> {
    fn new(data: &'a [u8]) -> Option<Self> {
        if u16::from_ne_bytes(data.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let body = data.get(u32_at(data, 4)? as usize..)?;
        let part = |at: usize| -> Option<&'a [u8]> {
            body.get(u32_at(data, at)? as usize..)?.get(..u32_at(data, at + 4)? as usize)
        };
        Some(Self { types: part(8)?, strings: part(16)? })
    }

    fn name(&self, at: u32) -> Option<&'a [u8]> {
        self.strings.get(at as usize..)?.split(|b| *b == 0).next()
    }

    /// The types in order; the first has id 1.
    fn iter(&self) -> impl Iterator<Item = Type<'a>> + use<'a> {
        let mut rest = self.types;
        std::iter::from_fn(move || {
            let info = u32_at(rest, 4)?;
            let (count, kind) = ((info & 0xffff) as usize, info >> 24 & 0x1f);
            // Bytes behind the common part, by kind.
            let extra = match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => count * 12,
                6 | 13 => count * 8,
                _ => 0,
            };
            let name = u32_at(rest, 0)?;
            let members = rest.get(12..12 + extra)?;
            rest = rest.get(12 + extra..)?;
            Some(Type { name, kind, flag: info >> 31 != 0, members })
        })
    }

    /// Offset in bits.
    fn member(&self, types: &[Type<'a>], of: Type<'a>, member: &[u8], depth: u32) -> Option<u32> {
        for m in of.members.chunks_exact(12) {
            let (name, id, offset) = (u32_at(m, 0)?, u32_at(m, 4)?, u32_at(m, 8)?);
            let offset = if of.flag { offset & 0x00ff_ffff } else { offset };
            if name != 0 {
                if self.name(name)? == member {
                    return Some(offset);
                }
                continue;
            }
            let inner = (id as usize).checked_sub(1).and_then(|i| types.get(i)).copied();
            if let Some(inner) = inner.filter(|t| matches!(t.kind, 4 | 5) && depth < 8)
                && let Some(found) = self.member(types, inner, member, depth + 1)
            {
                return offset.checked_add(found);
            }
        }
        None
    }
}

pub(super) fn find<const N: usize>(data: &[u8], wanted: &[(&str, &str); N]) -> Option<[u32; N]> {
    let btf = Btf::new(data)?;
    let types: Vec<_> = btf.iter().collect();
    let mut out = [0; N];
    for (offset, (structure, member)) in out.iter_mut().zip(wanted) {
        let of = types
            .iter()
            .find(|t| t.kind == KIND_STRUCT && btf.name(t.name) == Some(structure.as_bytes()))?;
        let bits = btf.member(&types, *of, member.as_bytes(), 0)?;
        *offset = (bits % 8 == 0).then_some(bits / 8)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use jotwatch_common::Offset;

    use super::{find, member_offsets};

    /// `struct s { int a; union { int b; struct { int c; int d; }; }; };`
    fn sample() -> Vec<u8> {
        let strings = b"\0s\0a\0b\0c\0d\0int\0";
        let mut t: Vec<u32> = vec![];
        t.extend([11, 1 << 24, 4, 32]); // 1: int
        t.extend([0, 4 << 24 | 2, 8, 7, 1, 0, 9, 1, 32]); // 2: anonymous struct
        t.extend([0, 5 << 24 | 2, 8, 5, 1, 0, 0, 2, 0]); // 3: anonymous union
        t.extend([1, 4 << 24 | 2, 12, 3, 1, 0, 0, 3, 32]); // 4: struct s
        let types: Vec<u8> = t.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let mut out = 0xeb9f_u16.to_ne_bytes().to_vec();
        out.extend([1, 0]);
        for w in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            out.extend(w.to_ne_bytes());
        }
        out.extend(types);
        out.extend(strings);
        out
    }

    #[test]
    fn finds_members_through_anonymous_parts() {
        let data = sample();
        for (member, offset) in
            [("a", Some(0)), ("b", Some(4)), ("c", Some(4)), ("d", Some(8)), ("e", None)]
        {
            assert_eq!(find(&data, &[("s", member)]), offset.map(|o| [o]), "{member}");
        }
        assert_eq!(find(&data, &[("t", "a")]), None);
        assert_eq!(find(&data, &[("s", "d"), ("s", "a")]), Some([8, 0]));
        assert_eq!(find(&data, &[("s", "d"), ("s", "e")]), None);
    }

    #[test]
    fn a_cut_file_gives_nothing_and_does_not_panic() {
        let data = sample();
        for n in 0..data.len() {
            assert_eq!(find(&data[..n], &[("s", "d")]), None);
        }
    }

    #[test]
    fn the_running_kernel_has_what_is_read_of_a_socket() {
        if std::path::Path::new(super::VMLINUX).exists() {
            let offsets = member_offsets(&Offset::MEMBERS).expect("all of them");
            let cookie = offsets[Offset::Cookie as usize];
            assert!(cookie > 0 && cookie.is_multiple_of(8));
        }
    }
}
