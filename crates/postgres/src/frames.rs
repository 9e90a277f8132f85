//! Messages as they come from a client, checked before the protocol library sees them: it takes a
//! claimed length for granted and slices past the end of what does not fit. Memory follows what has
//! come, never what is announced. Read next: `connection.rs`.

use bytes::{Buf, BufMut, BytesMut};

/// The first message of a connection: no real one is longer (as in Postgres' own server).
const STARTUP_BYTES_MAX: usize = 10_000;
/// Messages that hold a name or nothing.
const SHORT_BYTES_MAX: usize = 10_000;

/// Why a message is no message.
pub type Fault = &'static str;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phase {
    /// Messages without a type: TLS?, who is there, cancel.
    Startup,
    Queries,
}

/// The whole length of the message at the start of the buffer; none while its head is not there.
pub fn length(buffer: &[u8], phase: Phase, bytes_max: usize) -> Result<Option<usize>, Fault> {
    let head = match phase {
        Phase::Startup => 0,
        Phase::Queries => 1,
    };
    if let (Phase::Queries, Some(kind)) = (phase, buffer.first())
        && most(*kind, bytes_max).is_none()
    {
        return Err("there is no such message");
    }
    let Some(mut claimed) = buffer.get(head..head + 4) else { return Ok(None) };
    let claimed = claimed.get_u32() as usize;
    let (least, most) = match phase {
        Phase::Startup => (8, STARTUP_BYTES_MAX),
        Phase::Queries => (4, buffer.first().and_then(|k| most(*k, bytes_max)).unwrap_or(0)),
    };
    match claimed {
        c if c < least => Err("the length is less than that of an empty message"),
        c if c > most => Err("the message is too long (pg.message_bytes_max)"),
        c => Ok(Some(c + head)),
    }
}

fn most(kind: u8, bytes_max: usize) -> Option<usize> {
    match kind {
        b'Q' | b'P' | b'B' | b'd' => Some(bytes_max),
        b'C' | b'D' | b'E' | b'F' | b'f' | b'H' | b'S' | b'X' | b'c' | b'p' => {
            Some(SHORT_BYTES_MAX.min(bytes_max))
        }
        _ => None,
    }
}

/// Whether what stands in a message is what its type says, to the last byte.
pub fn check(message: &[u8], phase: Phase) -> Result<(), Fault> {
    let (kind, body) = match phase {
        Phase::Startup => (0, message.get(4..)),
        Phase::Queries => (message.first().copied().unwrap_or(0), message.get(5..)),
    };
    let mut body = Body(body.unwrap_or(&[]));
    let whole = match kind {
        0 => body.startup(),
        b'Q' => body.text(),
        b'P' => body.text().and_then(|()| body.text()).and_then(|()| body.list(4)),
        b'B' => body.bind(),
        b'C' | b'D' => body.target().and_then(|()| body.text()),
        b'E' => body.text().and_then(|()| body.skip(4)),
        b'd' => body.skip(body.0.len()),
        b'f' => body.text(),
        b'H' | b'S' | b'X' | b'c' => Some(()),
        _ => return Err("this message is not for here"),
    };
    match whole {
        Some(()) if body.0.is_empty() => Ok(()),
        Some(()) => Err("the message is longer than what is in it"),
        None => Err("the message ends too early"),
    }
}

struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.0.get(..N)?.try_into().ok();
        self.skip(N)?;
        bytes
    }

    /// Bytes up to a zero.
    fn text(&mut self) -> Option<()> {
        let end = self.0.iter().position(|b| *b == 0)?;
        self.skip(end + 1)
    }

    /// A count and so many items of that size.
    fn list(&mut self, size: usize) -> Option<()> {
        let count = u16::from_be_bytes(self.number()?);
        self.skip(usize::from(count) * size)
    }

    fn target(&mut self) -> Option<()> {
        matches!(self.number()?, [b'S' | b'P']).then_some(())
    }

    fn bind(&mut self) -> Option<()> {
        self.text()?;
        self.text()?;
        self.list(2)?;
        let count = u16::from_be_bytes(self.number()?);
        for _ in 0..count {
            match i32::from_be_bytes(self.number()?) {
                -1 => {}
                length => self.skip(usize::try_from(length).ok()?)?,
            }
        }
        self.list(2)
    }

    fn startup(&mut self) -> Option<()> {
        let code = u32::from_be_bytes(self.number()?);
        match code {
            TLS | GSS => return Some(()),
            CANCEL => return (8..=4 + 256).contains(&self.0.len()).then(|| self.0 = &[]),
            _ => {}
        }
        // Pairs of texts, and a zero behind them.
        while self.0.first().is_some_and(|b| *b != 0) {
            self.text()?;
            self.text()?;
        }
        self.skip(1)
    }
}

/// Codes in place of a version in the first message.
pub const TLS: u32 = 80_877_103;
pub const GSS: u32 = 80_877_104;
pub const CANCEL: u32 = 80_877_102;

/// The code or version of a first message.
pub fn code(message: &[u8]) -> u32 {
    message.get(4..8).map_or(0, |mut code| code.get_u32())
}

/// A FATAL error as it goes over the wire, for those who are not served.
pub fn fatal(code: &str, message: &str) -> BytesMut {
    let mut body = BytesMut::new();
    for (field, text) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', code), (b'M', message)] {
        body.put_u8(field);
        body.put_slice(text.as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    let mut bytes = BytesMut::new();
    bytes.put_u8(b'E');
    bytes.put_u32(body.len() as u32 + 4);
    bytes.put_slice(&body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    #[test]
    fn only_whole_messages_pass() {
        let bind = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\0";
        for (kind, body) in [
            (b'Q', &b"SELECT 1\0"[..]),
            (b'P', b"\0SELECT $1\0\0\x01\0\0\0\x17"),
            (b'B', bind),
            (b'D', b"Sname\0"),
            (b'C', b"P\0"),
            (b'E', b"\0\0\0\0\0"),
            (b'S', b""),
            (b'H', b""),
            (b'X', b""),
        ] {
            let whole = message(kind, body);
            assert_eq!(length(&whole, Phase::Queries, 1000), Ok(Some(whole.len())));
            assert_eq!(check(&whole, Phase::Queries), Ok(()), "{}", kind as char);
            for cut in 0..body.len() {
                let cut = message(kind, &body[..cut]);
                assert!(check(&cut, Phase::Queries).is_err(), "{}: {cut:?}", kind as char);
            }
            let long = message(kind, &[body, b"x"].concat());
            assert!(check(&long, Phase::Queries).is_err(), "{}", kind as char);
        }
        assert!(check(&message(b'D', b"Xname\0"), Phase::Queries).is_err());
        assert!(check(&message(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"), Phase::Queries).is_err());
        assert!(check(&message(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe"), Phase::Queries).is_err());
    }

    #[test]
    fn lengths_are_believed_within_limits() {
        let claims = |kind: u8, claimed: u32, most| {
            let head = [&[kind][..], &claimed.to_be_bytes()].concat();
            length(&head, Phase::Queries, most)
        };
        assert_eq!(claims(b'Q', 1000, 1000), Ok(Some(1001)));
        assert!(claims(b'Q', 1001, 1000).is_err());
        assert!(claims(b'Q', 3, 1000).is_err());
        assert!(claims(b'Q', u32::MAX, 1000).is_err());
        assert!(claims(b'S', 20_000, 1 << 20).is_err());
        assert!(length(b"G", Phase::Queries, 1000).is_err());
        assert_eq!(length(b"Q\0\0\0", Phase::Queries, 1000), Ok(None));
        assert!(length(b"GET / HTTP/1.1", Phase::Startup, 1000).is_err());
        assert!(length(&[0, 0, 0, 7], Phase::Startup, 1000).is_err());
        assert_eq!(length(&[0, 0, 0, 8], Phase::Startup, 1000), Ok(Some(8)));
    }

    #[test]
    fn first_messages() {
        let first = |body: &[u8]| [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
        let version = [0, 3, 0, 0];
        for (body, good) in [
            ([&version[..], b"user\0a\0\0"].concat(), true),
            ([&version[..], b"\0"].concat(), true),
            ([&version[..], b"user\0a\0"].concat(), false),
            ([&version[..], b"user\0\0x"].concat(), false),
            (TLS.to_be_bytes().to_vec(), true),
            ([&CANCEL.to_be_bytes()[..], &[0; 8]].concat(), true),
            (CANCEL.to_be_bytes().to_vec(), false),
        ] {
            assert_eq!(check(&first(&body), Phase::Startup).is_ok(), good, "{body:?}");
        }
        assert_eq!(code(&first(&TLS.to_be_bytes())), TLS);
    }
}
