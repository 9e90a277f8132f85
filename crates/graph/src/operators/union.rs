//! `UNION ALL`.

/// All rows of all inputs. Without inputs: no rows.
#[derive(Clone, Debug)]
pub struct Union;

impl Union {
    pub(super) fn digest(&self) -> String {
        "union".into()
    }
}
