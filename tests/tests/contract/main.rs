//! The files that describe the API are held to one another, and to the code.

mod events;
mod openapi;
mod routes;
