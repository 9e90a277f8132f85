//! Large buffers for readers, used again: a new one of a megabyte comes from the system page by
//! page and has to be cleared, which takes about as long as filling it.

use std::mem;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Smaller ones the allocator has at hand; larger ones are rare.
const SIZES: std::ops::RangeInclusive<usize> = (64 << 10)..=(2 << 20);
/// Bytes kept at most while nobody uses them.
const KEPT_MAX: usize = 16 << 20;

static KEPT: Mutex<Kept> = Mutex::new(Kept { buffers: vec![], bytes: 0 });

struct Kept {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A buffer that comes back when its last reader is done.
struct Lent {
    buffer: Vec<u8>,
    /// How much of it is filled.
    len: usize,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = mem::take(&mut self.buffer);
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + buffer.len() <= KEPT_MAX {
            kept.bytes += buffer.len();
            kept.buffers.push(buffer);
        }
    }
}

/// Bytes that `fill` writes into a buffer of `len`; it says how many there are.
pub(crate) fn filled<E>(
    len: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<Bytes, E> {
    if !SIZES.contains(&len) {
        let mut buffer = vec![0; len];
        let n = fill(&mut buffer)?;
        buffer.truncate(n);
        return Ok(buffer.into());
    }
    let mut lent = Lent { buffer: take(len.next_power_of_two()), len: 0 };
    lent.len = fill(&mut lent.buffer[..len])?.min(len);
    Ok(Bytes::from_owner(lent))
}

/// A kept buffer of this size, or a new one.
fn take(size: usize) -> Vec<u8> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    match kept.buffers.iter().rposition(|buffer| buffer.len() == size) {
        Some(at) => {
            kept.bytes -= size;
            kept.buffers.swap_remove(at)
        }
        None => vec![0; size],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_holds_what_was_read_into_it_and_nothing_of_before() {
        for (len, n) in [(10, 4), (64 << 10, 64 << 10), (100_000, 7), (100_000, 0), (3 << 20, 9)] {
            for byte in [1, 2] {
                let read = filled(len, |buffer| {
                    assert_eq!(buffer.len(), len);
                    buffer[..n].fill(byte);
                    Ok::<_, std::io::Error>(n)
                });
                assert!(read.is_ok_and(|bytes| bytes == vec![byte; n]));
            }
        }
        let failed = filled(100_000, |_| Err::<usize, _>("no"));
        assert_eq!(failed, Err("no"));
    }

    #[test]
    fn what_is_still_read_is_not_used_again() {
        let first = filled(70_000, |b| {
            b.fill(1);
            Ok::<_, ()>(b.len())
        });
        let slice = first.map(|bytes| bytes.slice(10..20)).unwrap_or_default();
        let second = filled(70_000, |b| {
            b.fill(2);
            Ok::<_, ()>(b.len())
        });
        assert_eq!((slice, second.map(|b| b[0])), (Bytes::from_static(&[1; 10]), Ok(2)));
    }
}
