//! Kafka's error codes as partitions and the coordinators of groups and transactions answer them.
//! A client acts on the code, so each is exactly the one Kafka 4 gives in the same state (names
//! and numbers: Kafka's protocol guide, "Error Codes"). Next: `groups/mod.rs`,
//! `transactions/mod.rs`.

/// One of Kafka's error codes; `code` is its number on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ErrorCode {
    #[default]
    None = 0,
    CorruptMessage = 2,
    UnknownTopicOrPartition = 3,
    MessageTooLarge = 10,
    OffsetMetadataTooLarge = 12,
    CoordinatorNotAvailable = 15,
    IllegalGeneration = 22,
    InconsistentGroupProtocol = 23,
    InvalidGroupId = 24,
    UnknownMemberId = 25,
    InvalidSessionTimeout = 26,
    RebalanceInProgress = 27,
    InvalidTimestamp = 32,
    InvalidRequest = 42,
    UnsupportedForMessageFormat = 43,
    OutOfOrderSequenceNumber = 45,
    InvalidProducerEpoch = 47,
    InvalidTxnState = 48,
    InvalidProducerIdMapping = 49,
    InvalidTransactionTimeout = 50,
    ConcurrentTransactions = 51,
    OperationNotAttempted = 55,
    KafkaStorageError = 56,
    NonEmptyGroup = 68,
    GroupIdNotFound = 69,
    MemberIdRequired = 79,
    GroupMaxSizeReached = 81,
    FencedInstanceId = 82,
    GroupSubscribedToTopic = 86,
    InvalidRecord = 87,
    UnstableOffsetCommit = 88,
    ProducerFenced = 90,
    TransactionalIdNotFound = 105,
    FencedMemberEpoch = 110,
    UnreleasedInstanceId = 111,
    UnsupportedAssignor = 112,
    StaleMemberEpoch = 113,
    InvalidRegularExpression = 128,
}

impl ErrorCode {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        self as i16
    }

    pub fn is_ok(self) -> bool {
        self == Self::None
    }

    /// What a client of an old request version understands: `PRODUCER_FENCED` exists from
    /// InitProducerId 4, AddPartitionsToTxn 2, AddOffsetsToTxn 2 and EndTxn 2 on (KIP-588); before,
    /// it is `INVALID_PRODUCER_EPOCH`.
    #[must_use]
    pub fn for_client(self, knows_producer_fenced: bool) -> Self {
        match self {
            Self::ProducerFenced if !knows_producer_fenced => Self::InvalidProducerEpoch,
            code => code,
        }
    }
}

impl From<Result<(), ErrorCode>> for ErrorCode {
    fn from(outcome: Result<(), ErrorCode>) -> Self {
        outcome.err().unwrap_or_default()
    }
}
