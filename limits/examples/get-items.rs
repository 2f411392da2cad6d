//! Reads two items of a DynamoDB table at the same time: the lower bound for functions that check a session there.

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use lambda_http::{Error, Request, run, service_fn};
use shared::{aws, environment::Environment};
use tokio::try_join;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // Without this, the SDK would spend more time on its configuration than the functions do.
    let config = aws::sdk_config_of(&Environment::of_this_process(), "AWS_ENDPOINT_URL_DYNAMODB")?;
    let client = Client::new(&config);
    let table = limits::variable("STATE_TABLE")?;
    let (client, table) = (&client, &*table);
    run(service_fn(async move |_: Request| {
        let (one, other) = try_join!(read(client, table, "1"), read(client, table, "2"))?;
        Ok::<_, Error>(one + &other)
    }))
    .await
}

/// The text of the item `limit`, `sort_key`.
async fn read(client: &Client, table: &str, sort_key: &str) -> Result<String, Error> {
    let request = client.get_item().table_name(table).consistent_read(true);
    let request = request.key("pk", AttributeValue::S("limit".to_owned()));
    let found = request.key("sk", AttributeValue::S(sort_key.to_owned())).send().await?;
    let text = found.item.and_then(|mut item| item.remove("text")).ok_or("there is no item")?;
    Ok(text.as_s().map_err(|_| "the item has no text")?.clone())
}
