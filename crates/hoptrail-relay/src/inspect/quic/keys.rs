//! The keys of a client's Initial packets, which follow from a connection id: RFC 9001, 5.2 to 5.4; RFC 9369, 3.3.

use super::packet::{Initial, Version};
use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::Aes128Gcm;
use aes_gcm::aead::AeadInOut;
use hkdf::Hkdf;
use sha2::Sha256;

const SAMPLE: usize = 16;
const TAG: usize = 16;

const SALT_1: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];
const SALT_2: [u8; 20] = [
    0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb,
    0xf9, 0xbd, 0x2e, 0xd9,
];

#[derive(Debug)]
pub(super) struct Keys {
    key: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

impl Keys {
    /// Those with which a client seals what it sends first, to the connection id of `initial`.
    pub(super) fn of(initial: &Initial<'_>) -> Option<Self> {
        let (salt, labels) = match initial.version {
            Version::One => (SALT_1, ["quic key", "quic iv", "quic hp"]),
            Version::Two => (SALT_2, ["quicv2 key", "quicv2 iv", "quicv2 hp"]),
        };
        let client: [u8; 32] = expand(&Hkdf::new(Some(&salt), initial.id), "client in")?;
        let client = Hkdf::from_prk(&client).ok()?;
        let [key, iv, header] = labels;
        Some(Self {
            key: expand(&client, key)?,
            iv: expand(&client, iv)?,
            header: expand(&client, header)?,
        })
    }

    /// The payload, if the packet was sealed with these.
    pub(super) fn open(&self, initial: &Initial<'_>) -> Option<Vec<u8>> {
        let mask = self.mask(initial.packet.get(initial.number_at + 4..)?)?;
        let first = initial.packet.first()? ^ mask[0] & 0x0f;
        let number_len = usize::from(first & 3) + 1;
        let payload_at = initial.number_at + number_len;
        let mut header = initial.packet.get(..payload_at)?.to_vec();
        header[0] = first;
        let mut nonce = self.iv;
        for at in 0..number_len {
            header[initial.number_at + at] ^= mask[1 + at];
            // Numbers of Initial packets are small: what was cut off in front is zero.
            nonce[12 - number_len + at] ^= header[initial.number_at + at];
        }
        let mut payload = initial.packet.get(payload_at..)?.to_vec();
        let tag_at = payload.len().checked_sub(TAG)?;
        let tag: [u8; TAG] = *payload.last_chunk()?;
        let cipher = Aes128Gcm::new(&self.key.into());
        let sealed = payload[..tag_at].as_mut();
        cipher.decrypt_inout_detached(&nonce.into(), &header, sealed.into(), &tag.into()).ok()?;
        payload.truncate(tag_at);
        Some(payload)
    }

    fn mask(&self, sample: &[u8]) -> Option<[u8; SAMPLE]> {
        let mut block = (*sample.first_chunk::<SAMPLE>()?).into();
        Aes128::new(&self.header.into()).encrypt_block(&mut block);
        Some(block.into())
    }
}

/// HKDF-Expand-Label with an empty context: RFC 8446, 7.1.
fn expand<const N: usize>(secret: &Hkdf<Sha256>, label: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let label_len = b"tls13 ".len() + label.len();
    let lens = [0, u8::try_from(N).ok()?, u8::try_from(label_len).ok()?];
    secret.expand_multi_info(&[&lens, b"tls13 ", label.as_bytes(), &[0]], &mut out).ok()?;
    Some(out)
}
