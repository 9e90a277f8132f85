//! What a client may do with a topic, a group or the cluster, as bits (KIP-430). There are no
//! access lists: whoever is let in may do all that Kafka knows for the resource (`AclEntry`).

const READ: i32 = 1 << 3;
const WRITE: i32 = 1 << 4;
const CREATE: i32 = 1 << 5;
const DELETE: i32 = 1 << 6;
const ALTER: i32 = 1 << 7;
const DESCRIBE: i32 = 1 << 8;
const CLUSTER_ACTION: i32 = 1 << 9;
const DESCRIBE_CONFIGS: i32 = 1 << 10;
const ALTER_CONFIGS: i32 = 1 << 11;
const IDEMPOTENT_WRITE: i32 = 1 << 12;

/// Nobody asked.
pub const NOT_SAID: i32 = i32::MIN;

const TOPIC: i32 =
    READ | WRITE | CREATE | DELETE | ALTER | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
const GROUP: i32 = READ | DELETE | DESCRIBE | DESCRIBE_CONFIGS | ALTER_CONFIGS;
const CLUSTER: i32 = CREATE
    | ALTER
    | DESCRIBE
    | CLUSTER_ACTION
    | DESCRIBE_CONFIGS
    | ALTER_CONFIGS
    | IDEMPOTENT_WRITE;

pub fn topic(asked: bool) -> i32 {
    if asked { TOPIC } else { NOT_SAID }
}

pub fn group(asked: bool) -> i32 {
    if asked { GROUP } else { NOT_SAID }
}

pub fn cluster(asked: bool) -> i32 {
    if asked { CLUSTER } else { NOT_SAID }
}
