//! What is kept for a key leaves and comes back by its key, whole or in deltas.

use crate::multiset::Multiset;

use super::*;

/// A multiset for each group, as joins have it.
#[derive(Default)]
struct Bag(Multiset);

impl GroupState for Bag {
    fn reset(&mut self, group: u32) {
        self.0.reset(group);
    }

    fn save(&self, group: &Group, to: &mut Writer) {
        self.0.save(group, 0, to);
    }

    fn drain(&mut self, _touched: &[u32], groups: &Groups, to: Option<&mut Writer>) {
        self.0.drain_to(0, groups, to);
    }

    fn load(&mut self, group: u32, saved: Saved) -> Result<()> {
        if let Saved::Item { item, count, .. } = saved {
            self.0.load(group, item, count);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }

    fn is_empty(&self, group: u32) -> bool {
        self.0.is_empty(group)
    }
}

fn add(state: &mut KeyedState<Bag>, key: &str, item: &str, weight: i64) {
    let (group, _) = state.intern(key.as_bytes());
    state.touch(group);
    state.values.0.add(group, item.as_bytes(), weight);
}

fn all(state: &KeyedState<Bag>) -> Vec<String> {
    let mut rows = vec![];
    for group in state.groups.numbers() {
        for (item, count) in state.values.0.items(group) {
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            rows.push(format!("{} {} {count}", text(state.groups.key(group)), text(item)));
        }
    }
    rows.sort();
    rows
}

fn no_keys() -> Keys {
    Keys::new(&[]).expect("no keys are keys")
}

#[test]
fn deltas_one_after_the_other_make_the_same_state() {
    let (mut state, mut copy) = (KeyedState::new(Bag::default()), KeyedState::new(Bag::default()));
    let epochs: [&[(&str, &str, i64)]; 4] = [
        &[("a", "x", 2), ("b", "x", 1), ("c", "z", 1)],
        &[("a", "x", -1), ("b", "x", -1), ("b", "y", 1)],
        &[("b", "y", -1), ("c", "z", -1)],
        &[("d", "x", 1), ("c", "q", 1)],
    ];
    for (epoch, changes) in epochs.iter().enumerate() {
        changes.iter().for_each(|(key, item, n)| add(&mut state, key, item, *n));
        let delta = state.delta(epoch == 2).expect("state is saved");
        assert_eq!(delta.len(), 1, "something changed");
        if epoch == 2 {
            copy = KeyedState::new(Bag::default());
        }
        copy.restore(&no_keys(), &delta[0]).expect("what was saved is read");
        assert_eq!(all(&copy), all(&state), "after epoch {epoch}");
        assert_eq!(copy.size().groups, state.size().groups);
        assert!(state.delta(false).expect("state is saved").is_empty());
    }
    assert_eq!(all(&state), ["a x 1", "c q 1", "d x 1"]);
}

/// What spilling a key needs: it leaves alone, and comes back as it was.
#[test]
fn a_group_can_leave_and_come_back_by_its_key() {
    let mut state = KeyedState::new(Bag::default());
    for (key, item) in [("a", "x"), ("a", "y"), ("b", "x")] {
        add(&mut state, key, item, 1);
    }
    assert_eq!(state.delta(false).expect("state is saved").len(), 1);
    let (before, bytes) = (all(&state), state.values.bytes());
    let (group, new) = state.intern(b"a");
    assert!(!new);
    let mut writer = Writer::default();
    state.values.save(&state.groups.get(group), &mut writer);
    state.forget(group);
    assert_eq!(all(&state), ["b x 1"]);
    assert!(state.delta(false).expect("state is saved").is_empty(), "nothing is lost on disk");
    let saved = writer.finish(false).expect("state is saved");
    state.restore(&no_keys(), &saved[0]).expect("what was saved is read");
    assert_eq!((all(&state), state.values.bytes()), (before, bytes));
}

#[test]
fn a_number_used_again_has_nothing_of_the_one_before() {
    let mut state = KeyedState::new(Bag::default());
    add(&mut state, "a", "x", 1);
    let (group, _) = state.intern(b"a");
    state.remove(group);
    let delta = state.delta(false).expect("state is saved");
    assert_eq!(delta[0].num_rows(), 1, "the key is gone");
    assert_eq!(state.intern(b"b"), (group, true));
    assert!(all(&state).is_empty());
}

#[test]
fn much_state_is_saved_in_pieces_that_follow_each_other() {
    let mut state = KeyedState::new(Bag::default());
    for key in 0..20 {
        add(&mut state, &format!("k{key}"), &format!("{key} {}", "x".repeat(1 << 20)), 1);
    }
    let pieces = state.delta(true).expect("state is saved");
    assert_eq!(pieces.iter().map(|p| p.num_rows()).collect::<Vec<_>>(), [8, 8, 4]);
    let mut copy = KeyedState::new(Bag::default());
    for piece in &pieces {
        copy.restore(&no_keys(), piece).expect("what was saved is read");
    }
    assert_eq!(all(&copy), all(&state));
    let mut nothing = KeyedState::new(Bag::default());
    assert_eq!(nothing.delta(true).expect("state is saved").len(), 1, "all is gone");
}
