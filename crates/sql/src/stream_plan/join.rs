//! Joins of every kind.

use common::Result;
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr as logical;
use graph::NodeKind;

use super::build::{Builder, Part, position};
use super::trace::Known;
use super::windows::same_window;
use super::{plan_error, refuse};

impl Builder<'_> {
    pub(super) fn join(&mut self, plan: &logical::Join) -> Result<Part> {
        let (left, right) = (self.part(&plan.left)?, self.part(&plan.right)?);
        refuse::join(plan, &left, &right)?;
        let (mut left_keys, mut right_keys, mut text) = (vec![], vec![], vec![]);
        for (l, r) in &plan.on {
            let (mut l, mut r) = (self.key(l, &left)?, self.key(r, &right)?);
            (l.window, r.window) = same_window(l.window, r.window);
            r.data_type = l.data_type.clone();
            text.push(format!("{} = {}", l.text, r.text));
            left_keys.push(l);
            right_keys.push(r);
        }
        let closing = left_keys.iter().position(|k| k.window.is_some_and(|w| w.closes));
        let mut known = joined(plan, &left, &right);
        let mut keep = vec![];
        if let Some(at) = closing {
            let (l, r) = &plan.on[at];
            self.close_by(l, &left)?;
            self.close_by(r, &right)?;
            let offset =
                if left_only(plan.join_type) { None } else { Some(left.known.windows.len()) };
            keep.extend(position(l, &left).filter(|_| !right_only(plan.join_type)));
            let offset = if right_only(plan.join_type) { Some(0) } else { offset };
            keep.extend(offset.and_then(|o| Some(o + position(r, &right)?)));
        }
        known.keep_closing(&keep);
        let filter = match &plan.filter {
            None => None,
            Some(filter) => {
                let both = left.schema.join(&right.schema).map_err(plan_error)?;
                Some(self.physical(filter, &both)?)
            }
        };
        let append_only =
            plan.join_type == JoinType::Inner && left.append_only && right.append_only;
        let kind = NodeKind::Join(graph::Join {
            kind: plan.join_type,
            left: left_keys,
            right: right_keys,
            null_aware: plan.null_aware,
            null_equals_null: plan.null_equality == NullEquality::NullEqualsNull,
            filter,
            text: text.join(" and "),
        });
        let node = self.add(kind, vec![left.node, right.node], &plan.schema, append_only);
        Ok(Part { node, schema: plan.schema.clone(), append_only, known })
    }
}

fn left_only(kind: JoinType) -> bool {
    matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark)
}

fn right_only(kind: JoinType) -> bool {
    matches!(kind, JoinType::RightSemi | JoinType::RightAnti)
}

fn joined(plan: &logical::Join, left: &Part, right: &Part) -> Known {
    if left_only(plan.join_type) {
        let mut known = Known { paths: vec![], ..left.known.clone() };
        known.windows.resize(plan.schema.fields().len(), None);
        return known;
    }
    if right_only(plan.join_type) {
        return Known { paths: vec![], ..right.known.clone() };
    }
    let width = left.known.windows.len();
    let windows = left.known.windows.iter().chain(&right.known.windows).copied().collect();
    // Rows of a full join without a match have no key at all.
    let key = match (&left.known.key, &right.known.key) {
        (Some(l), Some(r)) if plan.join_type != JoinType::Full => {
            Some(l.iter().copied().chain(r.iter().map(|c| c + width)).collect())
        }
        _ => None,
    };
    let is_fixed = left.known.is_fixed && right.known.is_fixed;
    Known { key, windows, paths: vec![], is_fixed }
}
