//! DescribeAcls, CreateAcls, DeleteAcls: there are no access lists, and Kafka has an error for a
//! broker without them.

use common::Result;
use kafka_protocol::ResponseError::SecurityDisabled;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{CreateAclsResponse, DeleteAclsResponse, DescribeAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::connection::{Answer, Request};
use super::reader::Reader;
use super::text;

fn why() -> Option<StrBytes> {
    Some(text("there are no access lists on this broker"))
}

pub fn describe(request: Request) -> Result<Answer> {
    let out = DescribeAclsResponse::default()
        .with_error_code(SecurityDisabled.code())
        .with_error_message(why());
    let frame = request.encode(&out);
    Ok(Box::pin(async move { frame.map(Some) }))
}

pub fn create(mut request: Request) -> Result<Answer> {
    let wanted = request.body.array(|r| {
        r.i8()?;
        r.string()?;
        r.i8()?;
        r.string()?;
        r.string()?;
        r.i8()?;
        r.i8()?;
        r.tags()
    })?;
    let refused = |()| {
        AclCreationResult::default()
            .with_error_code(SecurityDisabled.code())
            .with_error_message(why())
    };
    let results = wanted.into_iter().map(refused).collect();
    let frame = request.encode(&CreateAclsResponse::default().with_results(results));
    Ok(Box::pin(async move { frame.map(Some) }))
}

pub fn delete(mut request: Request) -> Result<Answer> {
    let filters = request.body.array(|r: &mut Reader| {
        r.i8()?;
        r.nullable_string()?;
        r.i8()?;
        r.nullable_string()?;
        r.nullable_string()?;
        r.i8()?;
        r.i8()?;
        r.tags()
    })?;
    let refused = |()| {
        DeleteAclsFilterResult::default()
            .with_error_code(SecurityDisabled.code())
            .with_error_message(why())
    };
    let results = filters.into_iter().map(refused).collect();
    let frame = request.encode(&DeleteAclsResponse::default().with_filter_results(results));
    Ok(Box::pin(async move { frame.map(Some) }))
}
