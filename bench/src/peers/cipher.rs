//! The bare cipher: the cost of AES-256-GCM alone on 16 KiB records, with both providers.

use anyhow::{Context as _, anyhow};
use rustix::time::{ClockId, clock_gettime};

/// CPU seconds per GB (10^9 bytes) of payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    pub(crate) provider: &'static str,
    pub(crate) seal: f64,
    pub(crate) open: f64,
}

/// Payload of a full record (RFC 8446 section 5.1).
const RECORD: usize = 16_384;

/// The tag after a record (RFC 5116 section 5.2).
const TAG: usize = 16;

/// Records in the buffer: 1 MiB, as a gateway has them when it seals a batch.
const RECORDS: usize = 64;

/// Passes over the buffer for one figure: 1 GiB.
const TURNS: usize = 1024;

const GIGABYTES: f64 = (RECORD * RECORDS * TURNS) as f64 / 1e9;

/// The header of a record, which is authenticated too (RFC 8446 section 5.2).
const HEADER: [u8; 5] = [23, 3, 3, 64, 16];

/// Measures both on the calling thread.
///
/// # Errors
///
/// Where a provider refuses what it is given.
pub(crate) fn measure() -> anyhow::Result<[Cost; 2]> {
    let ring = {
        use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| refused("ring"))?;
        cost("ring", &LessSafeKey::new(key))?
    };
    let aws_lc_rs = {
        use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(|_| refused("aws-lc-rs"))?;
        cost("aws-lc-rs", &LessSafeKey::new(key))?
    };
    Ok([ring, aws_lc_rs])
}

fn refused(provider: &str) -> anyhow::Error {
    anyhow!("{provider} refuses what it is given")
}

/// The lowest cost to seal and to open, together.
pub(crate) fn cheaper(costs: [Cost; 2]) -> Cost {
    let [a, b] = costs;
    if a.seal + a.open <= b.seal + b.open {
        a
    } else {
        b
    }
}

/// The operation of both providers on a record with room for the tag behind it, in place.
trait Cipher {
    fn seal(&self, record: &mut [u8]) -> Option<()>;
    fn open(&self, record: &mut [u8]) -> Option<()>;
}

impl Cipher for ring::aead::LessSafeKey {
    fn seal(&self, record: &mut [u8]) -> Option<()> {
        use ring::aead::{Aad, Nonce};
        let (payload, room) = record.split_at_mut_checked(RECORD)?;
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = self.seal_in_place_separate_tag(nonce, Aad::from(HEADER), payload);
        room.copy_from_slice(tag.ok()?.as_ref());
        Some(())
    }

    fn open(&self, record: &mut [u8]) -> Option<()> {
        use ring::aead::{Aad, Nonce};
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let opened = self.open_in_place(nonce, Aad::from(HEADER), record);
        opened.ok().map(|_| ())
    }
}

impl Cipher for aws_lc_rs::aead::LessSafeKey {
    fn seal(&self, record: &mut [u8]) -> Option<()> {
        use aws_lc_rs::aead::{Aad, Nonce};
        let (payload, room) = record.split_at_mut_checked(RECORD)?;
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = self.seal_in_place_separate_tag(nonce, Aad::from(HEADER), payload);
        room.copy_from_slice(tag.ok()?.as_ref());
        Some(())
    }

    fn open(&self, record: &mut [u8]) -> Option<()> {
        use aws_lc_rs::aead::{Aad, Nonce};
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let opened = self.open_in_place(nonce, Aad::from(HEADER), record);
        opened.ok().map(|_| ())
    }
}

fn cost(provider: &'static str, cipher: &impl Cipher) -> anyhow::Result<Cost> {
    let mut batch = vec![0x5a_u8; (RECORD + TAG) * RECORDS];
    let (mut seal, mut open) = (f64::MAX, f64::MAX);
    // The best of three: disturbances only add time.
    for _ in 0..3 {
        let (mut sealing, mut opening) = (0.0, 0.0);
        for _ in 0..TURNS {
            sealing += each(&mut batch, |record| cipher.seal(record), provider)?;
            opening += each(&mut batch, |record| cipher.open(record), provider)?;
        }
        seal = f64::min(seal, sealing / GIGABYTES);
        open = f64::min(open, opening / GIGABYTES);
    }
    Ok(Cost {
        provider,
        seal,
        open,
    })
}

/// Processes every record of the batch; returns CPU seconds.
fn each(
    batch: &mut [u8],
    act: impl Fn(&mut [u8]) -> Option<()>,
    provider: &str,
) -> anyhow::Result<f64> {
    let before = cpu_time();
    for record in batch.chunks_exact_mut(RECORD + TAG) {
        act(record).with_context(|| refused(provider))?;
    }
    Ok(cpu_time() - before)
}

/// CPU seconds of the calling thread.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheaper_provider_is_that_of_both_together() {
        let cost = |provider, seal, open| Cost {
            provider,
            seal,
            open,
        };
        let (a, b) = (cost("a", 1.0, 5.0), cost("b", 2.0, 3.0));
        assert_eq!(cheaper([a, b]), b);
        assert_eq!(cheaper([b, a]), b);
    }

    #[test]
    fn a_forged_record_is_refused() {
        use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("the length is right");
        let key = LessSafeKey::new(key);
        let mut record = vec![1; RECORD + TAG];
        key.seal(&mut record).expect("it has room");
        record[9] ^= 1;
        assert!(Cipher::open(&key, &mut record).is_none());
    }
}
