//! A member of a consumer group (KIP-848): says what it owns, takes what it is given, commits
//! offsets, leaves, or is not heard of for long.

use log::ErrorCode;
use log::groups::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicIdPartitions,
};
use rand::Rng;

use super::broker::{GROUP, Request, Response};
use super::net::{Answer, Session};
use super::run::{Client, Io};

pub struct Member {
    session: Session,
    id: String,
    epoch: i32,
    owned: Vec<TopicIdPartitions>,
    /// What it was given and has not confirmed yet.
    must_confirm: bool,
    /// Not heard of until this time.
    asleep_until_us: i64,
}

impl Member {
    pub fn new(client: usize) -> Self {
        Self {
            session: Session::new(client),
            id: format!("member {client}"),
            epoch: 0,
            owned: vec![],
            must_confirm: false,
            asleep_until_us: 0,
        }
    }

    fn heartbeat(&mut self, epoch: i32, io: &mut Io<'_>) {
        let is_full = epoch == 0;
        self.session.call(
            io.net,
            Request::Heartbeat(ConsumerGroupHeartbeatRequest {
                group_id: GROUP.into(),
                member_id: self.id.clone(),
                member_epoch: epoch,
                rebalance_timeout_ms: if is_full { 3_000 } else { -1 },
                subscribed_topic_names: is_full.then(|| vec!["a".to_owned()]),
                topic_partitions: (is_full || self.must_confirm).then(|| self.owned.clone()),
                client_id: self.id.clone(),
                client_host: "/127.0.0.1".into(),
                ..Default::default()
            }),
        );
    }

    fn commit(&mut self, io: &mut Io<'_>) {
        let partitions: Vec<i32> = self.owned.iter().flat_map(|t| t.partitions.clone()).collect();
        if partitions.is_empty() {
            return;
        }
        let partition = partitions[io.rng.random_range(0..partitions.len())];
        let (member, epoch) = (self.id.clone(), self.epoch);
        let offset = io.next_value(self.session.client).0 as i64;
        self.session.call(io.net, Request::OffsetCommit { member, epoch, partition, offset });
    }

    fn begin_anew(&mut self) {
        self.epoch = 0;
        self.owned.clear();
        self.must_confirm = false;
    }

    fn beaten(&mut self, asked: i32, answer: &ConsumerGroupHeartbeatResponse, io: &mut Io<'_>) {
        match answer.error_code {
            ErrorCode::None => {}
            ErrorCode::CoordinatorNotAvailable => return,
            error => {
                let is_known = error == ErrorCode::FencedMemberEpoch
                    || error == ErrorCode::UnknownMemberId
                    || error == ErrorCode::GroupIdNotFound;
                assert!(is_known, "{answer:?}");
                io.oracle.outcomes.add("member expired");
                return self.begin_anew();
            }
        }
        if asked < 0 {
            io.oracle.outcomes.add("member left");
            return self.begin_anew();
        }
        if asked == 0 {
            io.oracle.outcomes.add("member joined");
        }
        self.epoch = answer.member_epoch;
        self.must_confirm = false;
        if let Some(assignment) = &answer.assignment {
            if !self.owned.is_empty() && self.owned != *assignment {
                io.oracle.outcomes.add("partition moved");
            }
            self.owned.clone_from(assignment);
            self.must_confirm = true;
        }
    }
}

impl Client for Member {
    fn act(&mut self, io: &mut Io<'_>) {
        if self.session.open() > 0 || io.is_draining || io.now_us < self.asleep_until_us {
            return;
        }
        match io.rng.random_range(0..40) {
            0 => self.asleep_until_us = io.now_us + 10_000_000,
            1 if self.epoch > 0 => self.heartbeat(-1, io),
            2..12 => self.commit(io),
            _ => self.heartbeat(self.epoch, io),
        }
    }

    fn answered(&mut self, answer: &Answer, io: &mut Io<'_>) -> bool {
        if !self.session.answered(answer.id) {
            return true;
        }
        if let (Request::Heartbeat(asked), Response::Heartbeat(response)) =
            (&answer.request, &answer.response)
        {
            self.beaten(asked.member_epoch, response, io);
        }
        true
    }

    fn resend(&mut self, io: &mut Io<'_>) {
        self.session.resend(io.net, &mut io.oracle.outcomes);
    }

    fn is_done(&self) -> bool {
        true
    }
}
