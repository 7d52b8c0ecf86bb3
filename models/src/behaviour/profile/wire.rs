//! How profiles stand in a file: little-endian, field by field, without gaps.

/// Something of a fixed size in a file.
pub(super) trait Wire: Sized {
    /// Its bytes.
    const SIZE: usize;
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes it off the front; none where it is cut off or no value.
    fn take(from: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Wire for $number {
            const SIZE: usize = size_of::<Self>();

            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                let (first, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*first))
            }
        }
    )*};
}

numbers!(u8 u16 u32 u64 i16);

impl Wire for f32 {
    const SIZE: usize = 4;

    fn put(&self, out: &mut Vec<u8>) {
        self.to_bits().put(out);
    }

    /// No count or measure is infinite, NaN or below 0.
    fn take(from: &mut &[u8]) -> Option<Self> {
        let value = Self::from_bits(u32::take(from)?);
        (value.is_finite() && value >= 0.0).then_some(value)
    }
}

impl<T: Wire + Default + Copy, const N: usize> Wire for [T; N] {
    const SIZE: usize = N * T::SIZE;

    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|item| item.put(out));
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let mut all = [T::default(); N];
        for item in &mut all {
            *item = T::take(from)?;
        }
        Some(all)
    }
}

/// Writes and reads a structure field by field; the compiler says if one is missing.
macro_rules! wire {
    ($name:ident $(<const $n:ident>)? { $($field:ident: $kind:ty),* $(,)? }) => {
        impl $(<const $n: usize>)? $crate::behaviour::profile::wire::Wire for $name $(<$n>)? {
            const SIZE: usize =
                0 $(+ <$kind as $crate::behaviour::profile::wire::Wire>::SIZE)*;

            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($crate::behaviour::profile::wire::Wire::put($field, out);)*
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::behaviour::profile::wire::Wire::take(from)?),* })
            }
        }
    };
}
pub(super) use wire;
