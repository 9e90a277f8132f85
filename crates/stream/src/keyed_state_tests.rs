//! What is kept for a key leaves and comes back by its key, whole or in deltas.

use crate::multiset::Multiset;

use super::*;

fn add(state: &mut KeyedState<Multiset>, key: &str, item: &str, weight: i64) {
    let (group, _) = state.intern(key.as_bytes());
    state.touch(group);
    state.values.add(group, item.as_bytes(), weight);
}

fn all(state: &KeyedState<Multiset>) -> Vec<String> {
    let mut rows = vec![];
    for group in state.groups.numbers() {
        for (item, count) in state.values.items(group) {
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
    let (mut state, mut copy) =
        (KeyedState::new(Multiset::default()), KeyedState::new(Multiset::default()));
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
            copy = KeyedState::new(Multiset::default());
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
    let mut state = KeyedState::new(Multiset::default());
    for (key, item) in [("a", "x"), ("a", "y"), ("b", "x")] {
        add(&mut state, key, item, 1);
    }
    assert_eq!(state.delta(false).expect("state is saved").len(), 1);
    let (before, bytes) = (all(&state), state.values.bytes());
    let (group, new) = state.intern(b"a");
    assert!(!new);
    let mut writer = Writer::default();
    GroupState::save(&state.values, &state.groups.get(group), &mut writer);
    state.forget(group);
    assert_eq!(all(&state), ["b x 1"]);
    assert!(state.delta(false).expect("state is saved").is_empty(), "nothing is lost on disk");
    let saved = writer.finish(false).expect("state is saved");
    state.restore(&no_keys(), &saved[0]).expect("what was saved is read");
    assert_eq!((all(&state), state.values.bytes()), (before, bytes));
}

#[test]
fn a_number_used_again_has_nothing_of_the_one_before() {
    let mut state = KeyedState::new(Multiset::default());
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
    let mut state = KeyedState::new(Multiset::default());
    for key in 0..20 {
        add(&mut state, &format!("k{key}"), &format!("{key} {}", "x".repeat(1 << 20)), 1);
    }
    let pieces = state.delta(true).expect("state is saved");
    assert_eq!(pieces.iter().map(|p| p.num_rows()).collect::<Vec<_>>(), [8, 8, 4]);
    let mut copy = KeyedState::new(Multiset::default());
    for piece in &pieces {
        copy.restore(&no_keys(), piece).expect("what was saved is read");
    }
    assert_eq!(all(&copy), all(&state));
    let mut nothing = KeyedState::new(Multiset::default());
    assert_eq!(nothing.delta(true).expect("state is saved").len(), 1, "all is gone");
}
