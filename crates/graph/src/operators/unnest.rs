//! Lists and structs taken apart.

/// Which lists and structs become rows and columns.
#[derive(Clone, Debug)]
pub struct Unnest {
    /// What each column of the output is made of.
    pub columns: Vec<UnnestColumn>,
    /// A NULL in the place of a list gives a row, and so does an empty list.
    pub null_gives_row: bool,
    pub empty_gives_row: bool,
}

/// Made of the input column of that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnnestColumn {
    /// As it is, for each row made of its row.
    Whole(usize),
    /// The elements of its lists.
    Element(usize),
    /// A field of its structs.
    Field(usize, usize),
}

impl Unnest {
    pub(super) fn digest(&self) -> String {
        format!("unnest {self:?}")
    }
}
