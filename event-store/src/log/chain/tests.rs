//! The layout is fixed, and every field counts.

use super::*;

const EVENT: Content<'_> = Content {
    id: Uuid::from_u128(1),
    kind: "test",
    task_id: Some(Uuid::from_u128(2)),
    execution_id: None,
    producer: "tests",
    created_at_micros: 1_700_000_000_000_000,
    schema_version: 1,
    payload: b"{}",
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_layout_is_the_documented_one() {
    let mut bytes = b"bifrost event 1\n".to_vec();
    bytes.extend(1_u128.to_be_bytes());
    bytes.extend(4_u64.to_be_bytes());
    bytes.extend(b"test");
    bytes.push(1);
    bytes.extend(2_u128.to_be_bytes());
    bytes.push(0);
    bytes.extend(5_u64.to_be_bytes());
    bytes.extend(b"tests");
    bytes.extend(1_700_000_000_000_000_i64.to_be_bytes());
    bytes.extend(1_u16.to_be_bytes());
    bytes.extend(2_u64.to_be_bytes());
    bytes.extend(b"{}");
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    assert_eq!(Digest::of(&EVENT), Digest(digest));
    let link: [u8; 32] = Sha256::digest([[0; 32], digest].concat()).into();
    assert_eq!(Link::START.then(Digest(digest)), Link(link));
}

#[test]
fn a_link_of_an_earlier_release_is_still_the_same() {
    let link = Link::START.then(Digest::of(&EVENT)).then(Digest::of(&EVENT));
    assert_eq!(hex(link.as_bytes()), "a7e5c4dd0baa3c96fc964d99eb9e524f7cf2f5994585a6b0e6e0389d226d900f");
}

#[test]
fn every_field_changes_the_digest() {
    let changed = [
        Content { id: Uuid::from_u128(3), ..EVENT },
        Content { kind: "tes", ..EVENT },
        Content { task_id: None, ..EVENT },
        Content { task_id: Some(Uuid::from_u128(3)), ..EVENT },
        Content { execution_id: Some(Uuid::from_u128(2)), task_id: None, ..EVENT },
        Content { producer: "ttests", ..EVENT },
        Content { kind: "testt", producer: "ests", ..EVENT },
        Content { created_at_micros: 0, ..EVENT },
        Content { schema_version: 2, ..EVENT },
        Content { payload: b"[]", ..EVENT },
    ];
    let mut seen = vec![Digest::of(&EVENT)];
    for content in changed {
        let digest = Digest::of(&content);
        assert!(!seen.contains(&digest), "{content:?}");
        seen.push(digest);
    }
}
