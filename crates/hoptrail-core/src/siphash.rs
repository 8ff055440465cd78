//! SipHash-2-4 with a 128-bit result over whole 64-bit words: the tag of a record blob.
//!
//! Our own because it must run in BPF: no allocation, no byte tail (blobs are whole words), and the
//! word loop belongs to the caller, which in the kernel is a bounded loop.

/// The key: two words that only the kernel side knows.
pub type Key = [u64; 2];

/// Running state; `word` absorbs, `finish` gives the 128-bit tag.
#[derive(Clone, Copy)]
pub struct SipHash {
    v: [u64; 4],
    length: u64,
}

impl SipHash {
    /// Starts with `key`.
    #[inline(always)]
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self {
            v: [
                key[0] ^ 0x736f_6d65_7073_6575,
                // The 0xee marks the 128-bit variant in the reference implementation.
                key[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
                key[0] ^ 0x6c79_6765_6e65_7261,
                key[1] ^ 0x7465_6462_7974_6573,
            ],
            length: 0,
        }
    }

    /// Absorbs eight bytes (little endian).
    #[inline(always)]
    pub const fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.round();
        self.v[0] ^= word;
        self.length += 8;
    }

    /// The tag.
    #[inline(always)]
    #[must_use]
    pub const fn finish(mut self) -> [u64; 2] {
        let last = self.length << 56;
        self.word(last);
        self.v[2] ^= 0xee;
        self.rounds4();
        let first = self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3];
        self.v[1] ^= 0xdd;
        self.rounds4();
        [first, self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]]
    }

    #[inline(always)]
    const fn rounds4(&mut self) {
        self.round();
        self.round();
        self.round();
        self.round();
    }

    #[inline(always)]
    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.v = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher as _;
    use siphasher::sip128::{Hasher128 as _, SipHasher24};

    #[test]
    fn reference_vector_of_the_empty_message() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let empty = SipHash::new(key).finish();
        assert_eq!(empty, [0xe6a8_25ba_047f_81a3, 0x9302_55c7_1472_f66d]);
    }

    #[test]
    fn agrees_with_another_implementation() {
        for words in 0..40u64 {
            let key = [words.wrapping_mul(0x1234_5678_9abc_def1), !words];
            let mut ours = SipHash::new(key);
            let mut theirs = SipHasher24::new_with_keys(key[0], key[1]);
            for word in 0..words {
                let word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                ours.word(word);
                theirs.write(&word.to_le_bytes());
            }
            let theirs = theirs.finish128();
            assert_eq!(ours.finish(), [theirs.h1, theirs.h2], "{words} words");
        }
    }
}
