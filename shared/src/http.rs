//! Reading requests and writing replies of API Gateway's HTTP API (payload format 2.0).

mod authorizer;
mod fields;
mod reply;
mod request;

pub use self::{
    authorizer::{Authorization, Caller},
    reply::{Message, Reply},
    request::Request,
};
