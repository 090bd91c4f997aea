//! An app's certificates, as far as they get without the DNS.

use serde_json::{Value, json};

use crate::world::*;

const PEM: [&str; 2] = [
    "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----",
    "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----",
];

async fn ask(world: &World, method: &str, rest: &str, body: Value) -> (u16, Value) {
    let path = format!("/v1/apps/{APP}/certificates{rest}");
    let request = world.http(method, &path);
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.expect("answered");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_certificate_is_asked_for_looked_at_and_removed() {
    let world = World::start().await;
    let (status, asked) = ask(&world, "POST", "/acme", json!({"hostname": "WWW.Example.com"})).await;
    assert_eq!(
        (status, &asked["hostname"], &asked["status"]),
        (201, &json!("www.example.com"), &json!("pending_validation"))
    );
    assert_eq!(asked["dns_requirements"]["cname"], json!(format!("{APP}.fly.dev")));
    assert_eq!(ask(&world, "POST", "/acme", json!({"hostname": "www.example.com"})).await.0, 422, "twice");
    assert_eq!(ask(&world, "GET", "/www.example.com", Value::Null).await, (200, asked.clone()));
    let (status, checked) = ask(&world, "POST", "/www.example.com/check", Value::Null).await;
    assert_eq!((status, &checked["configured"], &checked["dns_records"]["a"]), (200, &json!(false), &json!([])));

    let own = json!({"hostname": "www.example.com", "fullchain": PEM[0], "private_key": PEM[1]});
    let (status, brought) = ask(&world, "POST", "/custom", own).await;
    let sources: Vec<&Value> =
        brought["certificates"].as_array().expect("a list").iter().map(|one| &one["source"]).collect();
    assert_eq!((status, sources), (201, vec![&json!("fly"), &json!("custom")]));
    let (status, left) = ask(&world, "DELETE", "/www.example.com/acme", Value::Null).await;
    assert_eq!((status, &left["status"], &left["acme_requested"]), (200, &json!("pending_ownership"), &json!(false)));
    let (status, left) = ask(&world, "DELETE", "/www.example.com/custom", Value::Null).await;
    assert_eq!((status, &left["certificates"]), (200, &json!([])));
    assert_eq!(ask(&world, "DELETE", "/www.example.com", Value::Null).await.0, 204);
    assert_eq!(ask(&world, "GET", "/www.example.com", Value::Null).await.0, 404);

    for (rest, body) in [
        ("/acme", json!({"hostname": "nothing"})),
        ("/acme", json!({})),
        ("/custom", json!({"hostname": "a.example", "fullchain": "x", "private_key": PEM[1]})),
        ("/custom", json!({"hostname": "a.example", "fullchain": PEM[0], "private_key": PEM[0]})),
    ] {
        let (status, refused) = ask(&world, "POST", rest, body).await;
        let said = refused["error"].as_str().map(|text| text.starts_with("Validation failed: "));
        assert_eq!((status, said), (422, Some(true)), "{refused}");
    }
    world.stop().await;
}

#[tokio::test]
async fn certificates_are_listed_page_by_page_and_survive_a_stop() {
    let world = World::start().await;
    for hostname in ["b.example", "a.example", "c.example", "a.other"] {
        assert_eq!(ask(&world, "POST", "/acme", json!({ "hostname": hostname })).await.0, 201);
    }
    let world = World::on(world.stop().await).await;
    let (_, page) = ask(&world, "GET", "?filter=example&limit=2", Value::Null).await;
    let names = |page: &Value| {
        let all = page["certificates"].as_array().expect("a list").iter();
        all.map(|one| one["hostname"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names(&page), &page["total_count"]), (vec!["a.example".into(), "b.example".into()], &json!(3)));
    let next = format!("?filter=example&limit=2&cursor={}", page["next_cursor"].as_str().expect("a cursor"));
    let (_, page) = ask(&world, "GET", &next, Value::Null).await;
    assert_eq!((names(&page), &page["next_cursor"]), (vec!["c.example".into()], &json!("")));
    world.stop().await;
}
