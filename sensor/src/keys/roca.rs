//! RSA moduli that a faulty library made (ROCA, CVE-2017-15361).
//!
//! Its primes were powers of 65537 modulo a product of small primes, and so are their products:
//! modulo each small prime, the modulus is a power of 65537. Of other moduli one in 10^8 is (M.
//! Nemec et al., The Return of Coppersmith's Attack, 2017, section 4).

/// The primes by which the library multiplied for every length of key.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus, big-endian, has this structure.
pub(super) fn has_structure(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let left = modulus.iter().fold(0, |left, &byte| ((left << 8) | u32::from(byte)) % prime);
        let mut power = 1;
        // The powers repeat after at most `prime - 1` of them.
        (1..prime).any(|_| {
            power = power * (65_537 % prime) % prime;
            power == left
        })
    })
}

#[cfg(test)]
mod tests {
    use super::has_structure;

    /// 65537^128, whose 2049 bits stand for a modulus of that library.
    fn power() -> Vec<u8> {
        let mut number = vec![1_u8];
        for _ in 0..128 {
            // n * 65537 = n * 2^16 + n, little-endian.
            let mut carry = 0_u16;
            let shifted = [&[0, 0][..], &number].concat();
            let mut sum: Vec<u8> = shifted
                .iter()
                .enumerate()
                .map(|(at, &byte)| {
                    let all =
                        u16::from(byte) + number.get(at).copied().map_or(0, u16::from) + carry;
                    carry = all >> 8;
                    all as u8
                })
                .collect();
            if carry > 0 {
                sum.push(carry as u8);
            }
            number = sum;
        }
        number.reverse();
        number
    }

    #[test]
    fn powers_of_the_generator_are_told_from_other_numbers() {
        let mut number = power();
        assert!(has_structure(&number));
        // Odd neighbours do not have it.
        let last = number.len() - 1;
        for low in [3, 5, 7, 9, 11, 13] {
            number[last] = low;
            assert!(!has_structure(&number), "{low}");
        }
        assert!(!has_structure(&[]));
    }
}
