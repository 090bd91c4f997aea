//! Who asks: the grant of an execution, or its pass, as the password of the proxy. Neither
//! is a secret, they say for whom a connection is made ([`wire::grant`], [`wire::egress`]).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wire::egress::Pass;
use wire::grant::GrantKey;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An execution, for its task.
    Execution(Pass),
    /// Nobody has said.
    Nobody,
    /// Somebody whose word is not good.
    Unknown,
}

/// Reads a `Proxy-Authorization` header.
pub(crate) fn caller(header: Option<&[u8]>, keys: &[GrantKey]) -> Caller {
    let Some(header) = header else { return Caller::Nobody };
    let pass = password(header).and_then(|text| keys.iter().find_map(|key| key.open_pass(&text).ok()));
    pass.map_or(Caller::Unknown, Caller::Execution)
}

fn password(header: &[u8]) -> Option<String> {
    let (scheme, rest) = std::str::from_utf8(header).ok()?.split_once(' ')?;
    let decoded = STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let (_, password) = String::from_utf8(decoded).ok()?.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()))?;
    Some(password)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use wire::grant::Grant;
    use wire::signature::Key;

    use super::*;

    #[test]
    fn a_grant_or_a_pass_is_who_asks_and_anything_else_is_not() {
        let [key, other] = [1, 2].map(|byte| GrantKey::of(&Key::from_bytes([byte; 32])));
        let [machine, task, execution] = [1, 2, 3].map(Uuid::from_u128);
        let grant = Grant { machine: machine.into(), task: task.into(), execution: execution.into() };
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text)).into_bytes();
        let pass = |hosts| Pass { grant, hosts };
        let own = pass(vec!["example.org".parse().expect("a host")]);
        let keys = [key.clone(), other];
        for (header, expected) in [
            (None, Caller::Nobody),
            (Some(basic(format!("bifrost:{}", key.issue(&grant)))), Caller::Execution(pass(Vec::new()))),
            (Some(basic(format!("bifrost:{}", key.issue_pass(&own)))), Caller::Execution(own)),
            (Some(basic("bifrost:v1.a.b".to_owned())), Caller::Unknown),
            (Some(basic("no colon".to_owned())), Caller::Unknown),
            (Some(b"Bearer x".to_vec()), Caller::Unknown),
            (Some(vec![0xff]), Caller::Unknown),
        ] {
            assert_eq!(caller(header.as_deref(), &keys), expected, "{header:?}");
        }
    }
}
