//! `UNNEST`, and sliding windows: each row has a list of the windows that hold it, which is taken
//! apart as any list is.

use common::Result;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::NullHandling;
use datafusion::logical_expr as logical;
use graph::{KeyWindow, NodeKind, UnnestColumn, WindowPart};

use super::build::{Builder, Part};
use super::refuse;
use super::trace::{Known, Path};

impl Builder<'_> {
    pub(super) fn unnest(&mut self, plan: &logical::Unnest) -> Result<Part> {
        let part = self.part(&plan.input)?;
        let columns = columns(plan)?;
        let known = known(&part.known, &columns);
        let kind = NodeKind::Unnest(graph::Unnest {
            columns,
            null_gives_row: plan.options.null_handling != NullHandling::Drop,
            empty_gives_row: plan.options.null_handling == NullHandling::PreserveAndExpandEmpty,
        });
        let node = self.add(kind, vec![part.node], &plan.schema, part.append_only);
        Ok(Part { node, schema: plan.schema.clone(), append_only: part.append_only, known })
    }
}

fn columns(plan: &logical::Unnest) -> Result<Vec<UnnestColumn>> {
    let mut columns: Vec<UnnestColumn> = vec![];
    for (i, at) in plan.dependency_indices.iter().copied().enumerate() {
        if plan.list_type_columns.iter().any(|(of, _)| *of == at) {
            if plan.list_type_columns.iter().any(|(of, list)| *of == at && list.depth != 1) {
                return Err(refuse::deep_unnest());
            }
            columns.push(UnnestColumn::Element(at));
        } else if plan.struct_type_columns.contains(&at)
            && matches!(plan.input.schema().field(at).data_type(), DataType::Struct(_))
        {
            let before = plan.dependency_indices[..i].iter().filter(|d| **d == at).count();
            columns.push(UnnestColumn::Field(at, before));
        } else {
            columns.push(UnnestColumn::Whole(at));
        }
    }
    Ok(columns)
}

/// What is known of the columns after they were taken apart.
fn known(before: &Known, columns: &[UnnestColumn]) -> Known {
    let window = |column: &UnnestColumn| match column {
        UnnestColumn::Whole(at) => before.windows[*at],
        UnnestColumn::Element(at) => {
            let each = before.windows[*at].filter(|w| w.part == WindowPart::Each)?;
            Some(KeyWindow { part: WindowPart::Whole, ..each })
        }
        UnnestColumn::Field(..) => None,
    };
    let path = |path: &Path| {
        let expr = |column: &UnnestColumn| match column {
            UnnestColumn::Whole(at) => path.exprs[*at].clone(),
            _ => None,
        };
        let sliding = columns.iter().find_map(|c| match c {
            UnnestColumn::Element(at) if window(c).is_some() => path.exprs[*at].clone(),
            _ => None,
        });
        let exprs = columns.iter().map(expr).collect();
        Path { exprs, sliding: sliding.or_else(|| path.sliding.clone()), ..path.clone() }
    };
    Known {
        key: None,
        windows: columns.iter().map(window).collect(),
        paths: before.paths.iter().map(path).collect(),
        is_fixed: before.is_fixed,
    }
}
