//! DescribeUserScramCredentials and AlterUserScramCredentials (KIP-554): the users that CREATE USER
//! makes, as Kafka's tools see them (`kafka-configs --entity-type users`). A user without any
//! verifier left is gone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use common::Result;
use engine::{ScramMechanism, User, Verifier};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_response as altered;
use kafka_protocol::messages::describe_user_scram_credentials_response as described;
use kafka_protocol::messages::{
    AlterUserScramCredentialsResponse, DescribeClientQuotasResponse,
    DescribeUserScramCredentialsResponse,
};

use super::connection::{Answer, Request};
use super::errors::Fault;
use super::text;
use crate::App;

/// As Kafka numbers them.
fn mechanism(number: i8) -> std::result::Result<ScramMechanism, Fault> {
    match number {
        1 => Ok(ScramMechanism::Sha256),
        2 => Ok(ScramMechanism::Sha512),
        _ => Err(Fault::new(ResponseError::UnsupportedSaslMechanism, "Unknown SCRAM mechanism")),
    }
}

fn number(mechanism: ScramMechanism) -> i8 {
    match mechanism {
        ScramMechanism::Sha256 => 1,
        ScramMechanism::Sha512 => 2,
    }
}

pub fn describe(app: &App, mut request: Request) -> Result<Answer> {
    let names = request.body.nullable_array(|r| {
        let name = r.string()?;
        r.tags()?;
        Ok(name)
    })?;
    let users = app.session.users().clone();
    Ok(Box::pin(async move {
        let results = match names.filter(|names| !names.is_empty()) {
            None => users.all().iter().map(one).collect(),
            Some(names) => {
                let mut seen = BTreeMap::<String, usize>::new();
                names.into_iter().for_each(|name| *seen.entry(name).or_default() += 1);
                let asked = |(name, times): (String, usize)| match (times, users.get(&name)) {
                    (1, Some(user)) => one(&user),
                    (1, None) => failed(name, ResponseError::ResourceNotFound),
                    _ => failed(name, ResponseError::DuplicateResource),
                };
                seen.into_iter().map(asked).collect()
            }
        };
        let out = DescribeUserScramCredentialsResponse::default().with_results(results);
        request.encode(&out).map(Some)
    }))
}

/// DescribeClientQuotas (KIP-546): there are none. Kafka's tools ask for them with each user.
pub fn quotas(mut request: Request) -> Result<Answer> {
    let body = &mut request.body;
    body.array(|r| {
        r.string()?;
        r.i8()?;
        r.nullable_string()?;
        r.tags()
    })?;
    body.bool()?;
    let frame = request.encode(&DescribeClientQuotasResponse::default().with_entries(Some(vec![])));
    Ok(Box::pin(async move { frame.map(Some) }))
}

fn one(user: &User) -> described::DescribeUserScramCredentialsResult {
    let info = |mechanism| {
        let iterations = user.verifier(mechanism).map_or(0, |v| v.iterations);
        described::CredentialInfo::default()
            .with_mechanism(number(mechanism))
            .with_iterations(i32::try_from(iterations).unwrap_or(i32::MAX))
    };
    described::DescribeUserScramCredentialsResult::default()
        .with_user(text(user.name.as_str()))
        .with_credential_infos(user.mechanisms().map(info).collect())
}

fn failed(name: String, code: ResponseError) -> described::DescribeUserScramCredentialsResult {
    described::DescribeUserScramCredentialsResult::default()
        .with_error_code(code.code())
        .with_error_message(Some(text(format!("no single user '{name}' to describe"))))
        .with_user(text(name))
}

/// One mechanism of one user: taken away, or set.
struct Change {
    mechanism: i8,
    /// Iterations, salt, salted password.
    set: Option<(i32, Bytes, Bytes)>,
}

pub fn alter(app: &App, mut request: Request) -> Result<Answer> {
    let body = &mut request.body;
    let mut changes = BTreeMap::<String, Vec<Change>>::new();
    let deletions = body.array(|r| {
        let deletion = (r.string()?, r.i8()?);
        r.tags()?;
        Ok(deletion)
    })?;
    for (name, mechanism) in deletions {
        changes.entry(name).or_default().push(Change { mechanism, set: None });
    }
    let upsertions = body.array(|r| {
        let (name, mechanism, iterations) = (r.string()?, r.i8()?, r.i32()?);
        let set = Some((iterations, r.bytes()?, r.bytes()?));
        r.tags()?;
        Ok((name, Change { mechanism, set }))
    })?;
    for (name, change) in upsertions {
        changes.entry(name).or_default().push(change);
    }
    let users = app.session.users().clone();
    Ok(Box::pin(async move {
        let names: Vec<String> = changes.keys().cloned().collect();
        let changed = users.change(move |users| {
            let mut results = vec![];
            for (name, changes) in changes {
                let result = changed(users.get(&name), &name, &changes);
                results.push(match result {
                    Ok(user) if user.mechanisms().next().is_none() => {
                        users.remove(&name);
                        result_of(name, None)
                    }
                    Ok(user) => {
                        users.put(user);
                        result_of(name, None)
                    }
                    Err(fault) => result_of(name, Some(fault)),
                });
            }
            Ok(results)
        });
        let results = changed.await.unwrap_or_else(|e| {
            let fault = || Fault::new(ResponseError::UnknownServerError, e.to_string());
            names.into_iter().map(|name| result_of(name, Some(fault()))).collect()
        });
        request
            .encode(&AlterUserScramCredentialsResponse::default().with_results(results))
            .map(Some)
    }))
}

/// The user after all of its changes.
fn changed(
    user: Option<&User>,
    name: &str,
    changes: &[Change],
) -> std::result::Result<User, Fault> {
    let unacceptable =
        |e: common::Error| Fault::new(ResponseError::UnacceptableCredential, e.to_string());
    let mut user = match user {
        Some(user) => user.clone(),
        None => User::new(name).map_err(unacceptable)?,
    };
    let mechanisms: BTreeSet<i8> = changes.iter().map(|c| c.mechanism).collect();
    if mechanisms.len() < changes.len() {
        let why = "A user credential cannot be altered twice in the same request";
        return Err(Fault::new(ResponseError::DuplicateResource, why));
    }
    for change in changes {
        let mechanism = mechanism(change.mechanism)?;
        let verifier = match &change.set {
            None if user.verifier(mechanism).is_none() => {
                let why = "Attempt to delete a user credential that does not exist";
                return Err(Fault::new(ResponseError::ResourceNotFound, why));
            }
            None => None,
            Some((iterations, salt, salted)) => {
                let iterations = u32::try_from(*iterations).unwrap_or(0);
                let made = Verifier::from_salted(mechanism, salt.to_vec(), iterations, salted);
                Some(made.map_err(unacceptable)?)
            }
        };
        user.set_verifier(mechanism, verifier);
    }
    Ok(user)
}

fn result_of(name: String, fault: Option<Fault>) -> altered::AlterUserScramCredentialsResult {
    let out = altered::AlterUserScramCredentialsResult::default().with_user(text(name));
    match fault {
        None => out,
        Some(fault) => out.with_error_code(fault.code).with_error_message(fault.message),
    }
}
