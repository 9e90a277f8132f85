//! Zigzag variable-length integers as Kafka's record format uses them (both its `varint` and its
//! `varlong`; the first is checked to fit 32 bits).

use bytes::BufMut;

/// Reads one number at `*at` and moves behind it; nothing when it is cut off or too long.
pub(crate) fn read(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(unzigzag(u64::from(first)));
    }
    let mut value = 0_u64;
    for (i, byte) in bytes.get(*at..)?.iter().take(10).enumerate() {
        // The tenth byte has room for one bit only.
        if i == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            *at += i + 1;
            return Some(unzigzag(value));
        }
    }
    None
}

pub(crate) fn read_i32(bytes: &[u8], at: &mut usize) -> Option<i32> {
    i32::try_from(read(bytes, at)?).ok()
}

pub(crate) fn write(out: &mut impl BufMut, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.put_u8((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// How many bytes `write` takes.
pub(crate) fn len(value: i64) -> usize {
    (zigzag(value) | 1).ilog2() as usize / 7 + 1
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_garbage_does_not() {
        for value in [0, -1, 1, 63, -64, 64, 300, i64::from(i32::MIN), i64::MAX, i64::MIN] {
            let mut out = vec![];
            write(&mut out, value);
            assert_eq!(out.len(), len(value), "{value}");
            let mut at = 0;
            assert_eq!((read(&out, &mut at), at), (Some(value), out.len()));
            assert_eq!(read(&out[..out.len() - 1], &mut 0), None, "cut off: {value}");
        }
        assert_eq!(read(&[0xff; 20], &mut 0), None);
        assert_eq!(read(&[], &mut 0), None);
        assert_eq!(read(&[1], &mut 5), None);
        let mut big = vec![];
        write(&mut big, 1 << 40);
        assert_eq!(read_i32(&big, &mut 0), None);
    }
}
