//! Windows over event time, and the columns that stand for one. How a row gets its windows is
//! SQL (`sql/functions/window.rs`); when their state goes is the stream's (`stream/windows`).

/// A kind of window, with its sizes in microseconds. One without a size known beforehand (a
/// session) is no window of this kind: which rows it has follows from other rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    Tumbling { size_us: i64 },
    Sliding { size_us: i64, slide_us: i64 },
}

impl Window {
    pub fn new(size_us: i64, slide_us: i64) -> Self {
        match size_us == slide_us {
            true => Self::Tumbling { size_us },
            false => Self::Sliding { size_us, slide_us },
        }
    }

    pub fn size_us(self) -> i64 {
        match self {
            Self::Tumbling { size_us } | Self::Sliding { size_us, .. } => size_us,
        }
    }

    /// How long after the end of a window a row may still come for it: a row is late when the
    /// last of its windows ended, and so it may bring changes to one that ended before.
    pub fn grace_us(self) -> i64 {
        match self {
            Self::Tumbling { .. } => 0,
            Self::Sliding { size_us, slide_us } => (size_us - 1) / slide_us * slide_us,
        }
    }

    /// From the end of the window of one slide that holds a time (`WindowSize::last_slide`) to the
    /// end of the last window that does.
    pub fn further_us(self) -> i64 {
        match self {
            Self::Tumbling { .. } => 0,
            Self::Sliding { size_us, slide_us } => size_us - slide_us,
        }
    }
}

/// A key column that stands for a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyWindow {
    pub part: WindowPart,
    pub window: Window,
    /// Nothing changes for windows that end at or before the watermark, so their state may go.
    pub closes: bool,
}

impl KeyWindow {
    pub(crate) fn digest(&self) -> String {
        let Self { part, window, closes } = self;
        let (size_us, grace_us) = (window.size_us(), window.grace_us());
        format!(
            "KeyWindow {{ part: {part:?}, size_us: {size_us}, grace_us: {grace_us}, \
             closes: {closes} }}"
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowPart {
    /// The struct of both.
    Whole,
    Start,
    End,
    /// A list of all sliding windows that hold a row.
    Each,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slide_that_does_not_divide_the_size_has_less_grace_than_size() {
        let of = |size, slide| {
            let window = Window::new(size, slide);
            (window.size_us(), window.grace_us(), window.further_us())
        };
        assert_eq!(of(60, 60), (60, 0, 0));
        assert_eq!(of(60, 20), (60, 40, 40));
        assert_eq!(of(60, 25), (60, 50, 35));
        assert_eq!(of(50, 25), (50, 25, 25));
    }

    /// Part of the number under which state is saved: it must not change by renaming.
    #[test]
    fn the_digest_is_that_of_the_first_releases() {
        let window = Window::new(60, 20);
        let key = KeyWindow { part: WindowPart::Start, window, closes: true };
        let text = "KeyWindow { part: Start, size_us: 60, grace_us: 40, closes: true }";
        assert_eq!(key.digest(), text);
    }
}
