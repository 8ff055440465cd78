//! Bit counting without instructions that BPF lacks.
//!
//! LLVM lowers `count_ones` and `trailing_zeros` for BPF to a table in a constant pool, which the
//! loader cannot relocate; these stay arithmetic.

/// Number of set bits.
#[inline(always)]
#[must_use]
pub const fn ones(mut x: u64) -> u32 {
    x -= (x >> 1) & 0x5555_5555_5555_5555;
    x = (x & 0x3333_3333_3333_3333) + ((x >> 2) & 0x3333_3333_3333_3333);
    x = (x + (x >> 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    (x.wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32
}

/// Index of the lowest set bit; 64 for zero.
#[inline(always)]
#[must_use]
pub const fn lowest(x: u64) -> u32 {
    ones(!x & x.wrapping_sub(1))
}

/// Bits below `n` set; `n` is taken modulo 64.
#[inline(always)]
#[must_use]
pub const fn below(n: u32) -> u64 {
    (1u64 << (n & 63)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_the_instructions() {
        for x in [0, 1, 2, 3, 0x8000_0000_0000_0000, u64::MAX, 0x0123_4567_89ab_cdef, 1 << 40] {
            assert_eq!(ones(x), x.count_ones());
            assert_eq!(lowest(x), x.trailing_zeros());
        }
        assert_eq!(below(0), 0);
        assert_eq!(below(63), u64::MAX >> 1);
    }
}
