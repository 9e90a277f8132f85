//! Transactions: producer ids, epochs and fencing, both ends, offsets within, timeouts, crashes.

use log::ErrorCode as E;
use log::groups::*;
use log::transactions::*;

use super::{World, commit, committed, error, fetch, offsets, stable};

fn init(world: &World, id: &str) -> TransactionalProducer {
    let answer = ask(world, id, -1, -1);
    assert_eq!(answer.error_code, E::None);
    producer(id, answer.producer_id, answer.producer_epoch)
}

fn ask(world: &World, id: &str, producer_id: i64, producer_epoch: i16) -> InitProducerIdResponse {
    world.transactions().init_producer_id(&InitProducerIdRequest {
        transactional_id: Some(id.into()),
        transaction_timeout_ms: 60_000,
        producer_id,
        producer_epoch,
    })
}

fn producer(id: &str, producer_id: i64, producer_epoch: i16) -> TransactionalProducer {
    TransactionalProducer { transactional_id: id.into(), producer_id, producer_epoch }
}

fn add(world: &World, producer: &TransactionalProducer, partitions: &[i32]) -> E {
    let partitions: Vec<_> = partitions.iter().map(|p| ("orders".to_owned(), *p)).collect();
    world.transactions().add_partitions(producer, &partitions)
}

fn end(world: &World, producer: &TransactionalProducer, commit: bool) -> E {
    world.transactions().end_transaction(producer, commit)
}

fn txn_commit(producer: &TransactionalProducer, offset: i64) -> TxnOffsetCommitRequest {
    TxnOffsetCommitRequest {
        transactional_id: producer.transactional_id.clone(),
        group_id: "g".into(),
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch,
        generation_id: -1,
        topics: vec![offsets("orders", 0, offset)],
        ..TxnOffsetCommitRequest::default()
    }
}

fn state(world: &World, id: &str) -> &'static str {
    world.transactions().describe_transaction(id).transaction_state
}

#[test]
fn idempotent_producers_get_ids_that_never_come_again() {
    let mut world = World::new();
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 0,
        producer_id: -1,
        producer_epoch: -1,
    };
    let mut last = -1;
    for round in 0..2_500 {
        if round % 900 == 0 {
            world.restart();
        }
        let answer = world.transactions().init_producer_id(&request);
        assert_eq!((answer.error_code, answer.producer_epoch), (E::None, 0));
        assert!(answer.producer_id > last, "{} after {last}", answer.producer_id);
        last = answer.producer_id;
    }
    assert!(world.store.commits() < 5, "ids are taken in blocks");
    world.restart();
    world.store.refuse(1);
    let refused = world.transactions().init_producer_id(&request);
    assert_eq!((refused.error_code, refused.producer_id), (E::CoordinatorNotAvailable, -1));
    assert!(world.transactions().init_producer_id(&request).producer_id > last);
}

#[test]
fn a_transaction_ends_the_same_way_in_all_its_partitions() {
    let world = World::new();
    let p = init(&world, "t");
    for commit in [true, false] {
        assert_eq!(add(&world, &p, &[0, 1]), E::None);
        assert_eq!(add(&world, &p, &[1, 2]), E::None);
        assert_eq!(state(&world, "t"), "Ongoing");
        assert_eq!(end(&world, &p, commit), E::None);
        let marker = |n| ("orders".to_owned(), n, p.producer_id, p.producer_epoch, commit);
        assert_eq!(world.partitions.take(), [marker(0), marker(1), marker(2)]);
        assert_eq!(end(&world, &p, commit), E::None, "the answer may have been lost");
        assert_eq!(end(&world, &p, !commit), E::InvalidTxnState);
        assert_eq!(world.partitions.take(), []);
    }
    assert_eq!(state(&world, "t"), "CompleteAbort");
}

#[test]
fn a_transaction_costs_two_writes_and_with_offsets_two_more() {
    let world = World::new();
    let p = init(&world, "t");
    let before = world.store.commits();
    for _ in 0..10 {
        add(&world, &p, &[0, 1]);
        end(&world, &p, true);
    }
    assert_eq!(world.store.commits(), before + 20, "partitions added, outcome decided");
    let before = world.store.commits();
    world.transactions().add_offsets(&p, "g");
    world.transactions().txn_offset_commit(&txn_commit(&p, 1));
    end(&world, &p, true);
    assert_eq!(world.store.commits(), before + 4, "group, offset, outcome, its effect");
}

#[test]
fn what_is_not_right_gets_kafkas_error() {
    let world = World::new();
    let max = world.transaction_config.max_timeout_ms;
    for transaction_timeout_ms in [0, -1, max + 1] {
        let request = InitProducerIdRequest {
            transactional_id: Some("t".into()),
            transaction_timeout_ms,
            producer_id: -1,
            producer_epoch: -1,
        };
        let answer = world.transactions().init_producer_id(&request);
        assert_eq!(answer.error_code, E::InvalidTransactionTimeout);
    }
    assert_eq!(ask(&world, "", -1, -1).error_code, E::InvalidRequest);
    assert_eq!(ask(&world, "t", 5, -1).error_code, E::InvalidRequest);
    let p = init(&world, "t");
    assert_eq!(end(&world, &p, true), E::InvalidTxnState, "nothing was begun");
    let unknown = producer("unknown", p.producer_id, 0);
    let other_id = producer("t", p.producer_id + 1, 0);
    let old_epoch = producer("t", p.producer_id, p.producer_epoch - 1);
    let nameless = producer("", p.producer_id, 0);
    for (who, expected) in [
        (unknown, E::InvalidProducerIdMapping),
        (other_id, E::InvalidProducerIdMapping),
        (old_epoch, E::ProducerFenced),
        (nameless, E::InvalidRequest),
    ] {
        assert_eq!(add(&world, &who, &[0]), expected);
        assert_eq!(world.transactions().add_offsets(&who, "g"), expected);
        assert_eq!(end(&world, &who, true), expected);
        assert_eq!(world.transactions().while_open(&who, "orders", 0, || ()), Err(expected));
        let in_group = error(&world.transactions().txn_offset_commit(&txn_commit(&who, 1)));
        assert_eq!(in_group, expected.for_client(false));
    }
    let in_group = error(&world.transactions().txn_offset_commit(&txn_commit(&p, 1)));
    assert_eq!(in_group, E::InvalidTxnState);
    assert_eq!(E::ProducerFenced.for_client(false), E::InvalidProducerEpoch);
    assert_eq!(E::ProducerFenced.for_client(true).code(), 90);
}

#[test]
fn records_are_appended_only_while_the_partition_is_in_the_open_transaction() {
    let world = World::new();
    let p = init(&world, "t");
    let append = |partition| world.transactions().while_open(&p, "orders", partition, || 7);
    assert_eq!(append(0), Err(E::InvalidTxnState));
    add(&world, &p, &[0]);
    assert_eq!(append(0), Ok(7));
    assert_eq!(append(1), Err(E::InvalidTxnState));
    end(&world, &p, true);
    assert_eq!(append(0), Err(E::InvalidTxnState));
}

#[test]
fn a_new_producer_fences_the_old_one_and_aborts_what_it_left_open() {
    let world = World::new();
    let old = init(&world, "t");
    add(&world, &old, &[0]);
    let new = init(&world, "t");
    assert_eq!(new.producer_id, old.producer_id);
    assert!(new.producer_epoch > old.producer_epoch);
    let markers = world.partitions.take();
    assert_eq!(markers.len(), 1);
    let (_, _, id, epoch, commit) = markers[0].clone();
    assert_eq!((id, commit), (old.producer_id, false));
    assert!(epoch > old.producer_epoch, "the partition fences it too");
    assert_eq!(add(&world, &old, &[0]), E::ProducerFenced);
    assert_eq!(end(&world, &old, true), E::ProducerFenced);
    assert_eq!(add(&world, &new, &[0]), E::None);
}

#[test]
fn while_an_end_is_not_done_others_have_to_wait() {
    let world = World::new();
    let p = init(&world, "t");
    add(&world, &p, &[0, 1]);
    world.partitions.refuse(1);
    assert_eq!(end(&world, &p, true), E::None, "the outcome is decided and durable");
    assert_eq!(state(&world, "t"), "PrepareCommit");
    assert_eq!(end(&world, &p, true), E::ConcurrentTransactions);
    assert_eq!(end(&world, &p, false), E::InvalidTxnState);
    assert_eq!(add(&world, &p, &[0]), E::ConcurrentTransactions);
    assert_eq!(world.transactions().add_offsets(&p, "g"), E::ConcurrentTransactions);
    assert_eq!(ask(&world, "t", -1, -1).error_code, E::ConcurrentTransactions);
    world.pass(1_000);
    assert_eq!(state(&world, "t"), "CompleteCommit");
    let ends: Vec<_> = world.partitions.take().into_iter().map(|m| (m.1, m.4)).collect();
    assert!(ends.contains(&(0, true)) && ends.contains(&(1, true)), "{ends:?}");
    assert!(ends.iter().all(|(_, commit)| *commit));
    // The same when InitProducerId has to abort.
    add(&world, &p, &[0]);
    world.partitions.refuse(1);
    assert_eq!(ask(&world, "t", -1, -1).error_code, E::ConcurrentTransactions);
    world.pass(1_000);
    assert_eq!(ask(&world, "t", -1, -1).error_code, E::None);
}

#[test]
fn a_producer_that_states_its_epoch_gets_the_next_one_only_if_it_is_the_newest() {
    let world = World::new();
    let p = init(&world, "t");
    let (id, epoch) = (p.producer_id, p.producer_epoch);
    let next = ask(&world, "t", id, epoch);
    assert_eq!((next.producer_id, next.producer_epoch), (id, epoch + 1));
    let retry = ask(&world, "t", id, epoch);
    assert_eq!((retry.producer_id, retry.producer_epoch), (id, epoch + 1), "its answer was lost");
    let newer = init(&world, "t");
    assert_eq!(newer.producer_epoch, epoch + 2);
    assert_eq!(ask(&world, "t", id, epoch + 1).error_code, E::ProducerFenced);
    assert_eq!(ask(&world, "t", id + 1, epoch + 2).error_code, E::ProducerFenced);
    // With a transaction open: it is aborted, and its producer goes on.
    add(&world, &newer, &[0]);
    assert_eq!(ask(&world, "t", id, epoch + 1).error_code, E::ProducerFenced);
    let goes_on = ask(&world, "t", id, epoch + 2);
    assert_eq!((goes_on.error_code, goes_on.producer_epoch), (E::None, epoch + 3));
    assert_eq!(world.partitions.take().len(), 1);
}

#[test]
fn when_the_epochs_are_used_up_there_is_a_new_producer_id() {
    let mut world = World::new();
    let mut p = init(&world, "t");
    let first_id = p.producer_id;
    while p.producer_epoch < i16::MAX - 1 {
        p = init(&world, "t");
        assert_eq!(p.producer_id, first_id);
    }
    world.restart();
    assert_eq!(ask(&world, "t", first_id, 5).error_code, E::ProducerFenced);
    let rotated = ask(&world, "t", first_id, i16::MAX - 1);
    assert_eq!((rotated.error_code, rotated.producer_epoch), (E::None, 0));
    assert!(rotated.producer_id > first_id);
    let retry = ask(&world, "t", first_id, i16::MAX - 1);
    assert_eq!(retry, rotated, "its answer was lost");
    assert_eq!(ask(&world, "t", first_id, 5).error_code, E::ProducerFenced);
}

#[test]
fn offsets_in_a_transaction_count_when_it_commits() {
    for (commits, expected) in [(true, 20), (false, 10)] {
        let mut world = World::new();
        world.groups().commit_offsets(&commit("g", "", -1, 10));
        let p = init(&world, "t");
        assert_eq!(world.transactions().add_offsets(&p, "g"), E::None);
        assert_eq!(world.transactions().add_offsets(&p, "g"), E::None);
        let answer = world.transactions().txn_offset_commit(&txn_commit(&p, 20));
        assert_eq!(error(&answer), E::None);
        for _ in 0..2 {
            assert_eq!(committed(&world, "g"), 10);
            let unstable = fetch(&world, "g", "orders", true);
            assert_eq!(unstable.error_code, E::UnstableOffsetCommit);
            assert_eq!(unstable.committed_offset, -1);
            world.restart();
        }
        assert_eq!(end(&world, &p, commits), E::None);
        for _ in 0..2 {
            let found = fetch(&world, "g", "orders", true);
            assert_eq!((found.committed_offset, found.error_code), (expected, E::None));
            world.restart();
        }
        assert_eq!(world.partitions.take(), []);
    }
}

#[test]
fn an_offset_committed_after_a_pending_one_stays() {
    let mut world = World::new();
    let p = init(&world, "t");
    world.transactions().add_offsets(&p, "g");
    world.transactions().txn_offset_commit(&txn_commit(&p, 20));
    world.groups().commit_offsets(&commit("g", "", -1, 30));
    world.restart();
    assert_eq!(end(&world, &p, true), E::None);
    assert_eq!(committed(&world, "g"), 30);
}

#[test]
fn a_producer_commits_for_a_member_only_in_its_generation() {
    let world = World::new();
    let (member, generation) = stable(&world, "g");
    let p = init(&world, "t");
    world.transactions().add_offsets(&p, "g");
    let ask = |member_id: &str, generation_id| {
        let request = TxnOffsetCommitRequest {
            member_id: member_id.into(),
            generation_id,
            ..txn_commit(&p, 5)
        };
        error(&world.transactions().txn_offset_commit(&request))
    };
    assert_eq!(ask(&member, generation), E::None);
    assert_eq!(ask(&member, generation + 1), E::IllegalGeneration);
    assert_eq!(ask("stranger", generation), E::UnknownMemberId);
    assert_eq!(ask("", -1), E::None, "producers before KIP-447 do not say");
    let no_group = TxnOffsetCommitRequest { group_id: String::new(), ..txn_commit(&p, 5) };
    assert_eq!(error(&world.transactions().txn_offset_commit(&no_group)), E::InvalidGroupId);
}

#[test]
fn a_transaction_that_runs_too_long_is_aborted() {
    let world = World::new();
    let p = init(&world, "t");
    add(&world, &p, &[0]);
    assert_eq!(world.transactions().next_deadline_us(), Some(super::T0 + 60_001_000));
    world.pass(60_000);
    assert_eq!(state(&world, "t"), "Ongoing");
    world.pass(1);
    assert_eq!(state(&world, "t"), "CompleteAbort");
    let markers = world.partitions.take();
    assert_eq!((markers.len(), markers[0].4), (1, false));
    assert_eq!(add(&world, &p, &[0]), E::ProducerFenced);
    assert_eq!(end(&world, &p, false), E::ProducerFenced);
    assert_eq!(world.transactions().next_deadline_us(), None);
}

#[test]
fn a_decided_end_is_finished_after_a_crash() {
    for commits in [true, false] {
        let mut world = World::new();
        let p = init(&world, "t");
        add(&world, &p, &[0, 1]);
        world.partitions.refuse(2);
        assert_eq!(end(&world, &p, commits), E::None);
        assert_eq!(world.partitions.take(), []);
        world.restart();
        let ends: Vec<_> = world.partitions.take().into_iter().map(|m| (m.1, m.4)).collect();
        assert_eq!(ends, [(0, commits), (1, commits)]);
        assert_eq!(add(&world, &p, &[0]), E::None, "its producer goes on");
    }
}

#[test]
fn an_open_transaction_survives_a_restart_and_its_timeout_goes_on() {
    let mut world = World::new();
    let p = init(&world, "t");
    add(&world, &p, &[0]);
    world.pass(30_000);
    world.restart();
    assert_eq!(add(&world, &p, &[1]), E::None);
    assert_eq!(end(&world, &p, true), E::None);
    assert_eq!(world.partitions.take().len(), 2);
    add(&world, &p, &[0]);
    world.restart();
    world.pass(60_001);
    assert_eq!(world.partitions.take().len(), 1);
}

#[test]
fn an_end_that_can_not_be_stored_is_not_promised() {
    let world = World::new();
    let p = init(&world, "t");
    world.store.refuse(1);
    assert_eq!(add(&world, &p, &[0]), E::CoordinatorNotAvailable);
    assert_eq!(add(&world, &p, &[0]), E::None);
    world.store.refuse(1);
    assert_eq!(end(&world, &p, true), E::CoordinatorNotAvailable);
    assert_eq!(world.partitions.take(), [], "no marker before the outcome is durable");
    world.pass(0);
    assert_eq!(end(&world, &p, true), E::None);
    assert_eq!(world.partitions.take().len(), 1);
}

#[test]
fn transactions_are_listed_and_described() {
    let world = World::new();
    let a = init(&world, "a");
    init(&world, "b");
    world.pass(1_000);
    add(&world, &a, &[1, 0]);
    world.pass(500);
    let list = |states: &[&str], ids: &[i64], duration_filter| {
        let answer = world.transactions().list_transactions(&ListTransactionsRequest {
            state_filters: states.iter().map(|s| (*s).to_owned()).collect(),
            producer_id_filters: ids.to_vec(),
            duration_filter,
        });
        let ids = answer.transaction_states.into_iter().map(|t| t.transactional_id);
        (ids.collect::<Vec<_>>().join(" "), answer.unknown_state_filters.join(" "))
    };
    let found = |ids: &str| (ids.to_owned(), String::new());
    assert_eq!(list(&[], &[], -1), found("a b"));
    assert_eq!(list(&["Ongoing"], &[], -1), found("a"));
    assert_eq!(list(&["Empty", "Dead"], &[], -1), found("b"));
    assert_eq!(list(&["Begun"], &[], -1), (String::new(), "Begun".to_owned()));
    assert_eq!(list(&[], &[a.producer_id], -1), found("a"));
    assert_eq!(list(&[], &[], 499), found("a"));
    assert_eq!(list(&[], &[], 500), found(""));
    let described = world.transactions().describe_transaction("a");
    assert_eq!(
        (described.transaction_state, described.transaction_timeout_ms),
        ("Ongoing", 60_000)
    );
    assert_eq!(described.transaction_start_time_ms, super::T0 / 1000 + 1_000);
    assert_eq!(described.topics, [("orders".to_owned(), vec![0, 1])]);
    let none = world.transactions().describe_transaction("nobody");
    assert_eq!(none.error_code, E::TransactionalIdNotFound);
    let nameless = world.transactions().describe_transaction("");
    assert_eq!(nameless.error_code, E::InvalidRequest);
}

#[test]
fn a_transactional_id_nobody_uses_is_forgotten_after_a_week() {
    let mut world = World::new();
    let p = init(&world, "t");
    let week_ms = world.transaction_config.transactional_id_expiration_ms;
    world.pass(week_ms - 1);
    assert_eq!(state(&world, "t"), "Empty");
    world.pass(1);
    assert_eq!(add(&world, &p, &[0]), E::InvalidProducerIdMapping);
    world.restart();
    assert_eq!(add(&world, &p, &[0]), E::InvalidProducerIdMapping);
    let again = init(&world, "t");
    assert!(again.producer_id > p.producer_id);
}

#[test]
fn the_last_epoch_fences_and_is_never_given_out() {
    for states_its_epoch in [true, false] {
        let world = World::new();
        let mut p = init(&world, "t");
        while p.producer_epoch < i16::MAX - 1 {
            let next = ask(&world, "t", p.producer_id, p.producer_epoch);
            let retry = ask(&world, "t", p.producer_id, p.producer_epoch);
            assert_eq!((next, next.error_code), (retry, E::None));
            p = producer("t", next.producer_id, next.producer_epoch);
        }
        add(&world, &p, &[0]);
        let answer = match states_its_epoch {
            true => ask(&world, "t", p.producer_id, p.producer_epoch),
            false => ask(&world, "t", -1, -1),
        };
        assert_eq!((answer.error_code, answer.producer_epoch), (E::None, 0));
        assert!(answer.producer_id > p.producer_id);
        assert_eq!(world.partitions.take()[0].3, i16::MAX);
    }
}
