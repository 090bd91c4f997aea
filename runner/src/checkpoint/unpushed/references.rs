//! Which references to keep, under which names, and when they go (pure).

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use wire::id::ExecutionId;

use crate::checkpoint::format::Head;

/// Where everything is kept.
pub(crate) const KEPT: [&str; 4] =
    ["refs/bifrost/wip", "refs/bifrost/branches", "refs/bifrost/stashes", "refs/bifrost/commits"];
/// Commits without a branch, changes and stashes that are on no branch of the remote are kept for so long.
const KEPT_DAYS: i64 = 30;
/// Of so many executions, the newest, everything is kept that is on no branch of the remote.
const EXECUTIONS: usize = 50;

/// HEAD and uncommitted work of an execution.
pub(crate) fn wip(id: ExecutionId) -> String {
    format!("{}/{id}", KEPT[0])
}

/// The branches of an execution.
pub(super) fn branches(id: ExecutionId) -> String {
    format!("{}/{id}", KEPT[1])
}

/// A commit of an execution that none of its branches leads to.
pub(super) fn commit(id: ExecutionId, commit: &str) -> String {
    format!("{}/{id}/{commit}", KEPT[3])
}

/// Whether it leads to work that was left beside the branches.
pub(crate) fn is_beside_branches(name: &str) -> bool {
    name.starts_with(KEPT[3])
}

/// What is to be copied, and where HEAD stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// From which reference of the workspace to which of the mirror.
    pub(super) copies: Vec<(String, String)>,
    pub(super) head: Option<Head>,
}

/// Decides. What a remote branch points at is pushed. Where files were changed as well, HEAD is copied in any case:
/// what was not committed stands on it.
pub(super) fn plan(listed: &str, head: &str, commit: &str, id: ExecutionId, is_changed: bool) -> Plan {
    let references: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut known: BTreeSet<&str> =
        references.iter().filter(|(_, name)| name.starts_with("refs/remotes/")).map(|(object, _)| *object).collect();
    known.insert(commit);
    let branch = head.strip_prefix("ref: ");
    let at = match branch {
        Some(branch) => references.iter().find(|(_, name)| *name == branch).map(|(object, _)| *object),
        None => Some(head),
    };
    let at = at.filter(|at| !at.is_empty());
    let mut found = Plan {
        head: at.filter(|at| *at != commit || branch.is_some()).map(|at| Head {
            commit: at.to_owned(),
            branch: branch.filter(|name| name.starts_with("refs/heads/")).map(str::to_owned),
        }),
        ..Plan::default()
    };
    if at.is_some_and(|at| !known.contains(at) || (is_changed && at != commit)) {
        found.copies.push(("HEAD".to_owned(), wip(id)));
    }
    for (object, name) in references {
        if known.contains(object) {
            continue;
        }
        if let Some(branch) = name.strip_prefix("refs/heads/") {
            found.copies.push((name.to_owned(), format!("{}/{branch}", branches(id))));
        } else if name == "refs/stash" {
            found.copies.push((name.to_owned(), format!("{}/{id}", KEPT[2])));
        }
    }
    found
}

/// The HEAD that git is shown: what the command left there, or, where that is none, the commit that was checked out.
pub(super) fn readable<'a>(head: &'a str, commit: &'a str) -> &'a str {
    let is_name = head.strip_prefix("ref: refs/").is_some_and(|name| !name.contains(char::is_control));
    if is_object(head) || is_name { head } else { commit }
}

pub(super) fn is_object(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// Of the objects that a repository's files name, and of those of its other references, what may lead to commits that
/// nothing else leads to: branches do not, nor the stash, nor what remotes have, such as these.
pub(super) fn loose(listed: &str, ends: BTreeSet<String>, known: &BTreeSet<String>) -> BTreeSet<String> {
    let references = listed.lines().filter_map(|line| line.split_once(' '));
    let is_kept =
        |name: &str| name.starts_with("refs/heads/") || name.starts_with("refs/remotes/") || name == "refs/stash";
    let (kept, others): (Vec<_>, Vec<_>) = references.partition(|(_, name)| is_kept(name));
    let mut loose = ends;
    loose.extend(others.into_iter().map(|(object, _)| object.to_owned()));
    loose.retain(|object| !known.contains(object) && !kept.iter().any(|(kept, _)| kept == object));
    loose
}

/// Of the commits that `rev-list --parents` lists those that none of the others stands on.
pub(super) fn tips(listed: &str) -> Vec<&str> {
    let parents: BTreeSet<&str> = listed.lines().flat_map(|line| line.split(' ').skip(1)).collect();
    let commits = listed.lines().filter_map(|line| line.split(' ').next());
    commits.filter(|commit| !parents.contains(commit)).collect()
}

/// A reference that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) object: String,
    execution: ExecutionId,
}

/// What `for-each-ref` lists; names of another form are nobody's to remove.
pub(super) fn parse(listed: &str) -> Vec<Reference> {
    let reference = |line: &str| {
        let (object, name) = line.split_once(' ')?;
        Some(Reference { name: name.to_owned(), object: object.to_owned(), execution: left_by(name)? })
    };
    listed.lines().filter_map(reference).collect()
}

/// The execution whose work is kept under this name.
pub(super) fn left_by(name: &str) -> Option<ExecutionId> {
    let place = KEPT.iter().find_map(|place| name.strip_prefix(place)?.strip_prefix('/'))?;
    place.split('/').next()?.parse().ok()
}

/// Those that go: everything they lead to is on a branch of the remote (then git did not list them in `unmerged`), or
/// they are old and not among the newest. A branch that is not merged does not go for its age.
pub(super) fn gone<'a>(kept: &'a [Reference], unmerged: &str, now: DateTime<Utc>) -> Vec<&'a Reference> {
    let unmerged: BTreeSet<&str> = unmerged.lines().map(str::trim).collect();
    let ids: BTreeSet<ExecutionId> = kept.iter().map(|one| one.execution).collect();
    let newest: BTreeSet<ExecutionId> = ids.into_iter().rev().take(EXECUTIONS).collect();
    let is_branch = |one: &Reference| one.name.starts_with(KEPT[1]);
    let is_old = |one: &Reference| one.execution.minted_at() < now - TimeDelta::days(KEPT_DAYS);
    let goes = |one: &&Reference| {
        !unmerged.contains(one.object.as_str()) || (is_old(one) && !is_branch(one) && !newest.contains(&one.execution))
    };
    kept.iter().filter(goes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_remote_branch_has_is_kept() {
        let id = ExecutionId::from(uuid::Uuid::nil());
        let listed = "a1 refs/heads/old\nb2 refs/heads/pushed\nc3 refs/heads/fix/it\nb2 refs/remotes/origin/pushed\nd4 refs/stash\n";
        let sources = |head: &str, is_changed: bool| -> Vec<String> {
            plan(listed, head, "a1", id, is_changed)
                .copies
                .into_iter()
                .map(|(from, to)| format!("{from} {}", to.replace(&id.to_string(), "ID")))
                .collect()
        };
        let others = ["refs/heads/fix/it refs/bifrost/branches/ID/fix/it", "refs/stash refs/bifrost/stashes/ID"];
        let and_head = [&["HEAD refs/bifrost/wip/ID"], &others[..]].concat();
        assert_eq!(sources("a1", true), others);
        assert_eq!(sources("ref: refs/heads/pushed", false), others);
        assert_eq!(sources("ref: refs/heads/pushed", true), and_head);
        assert_eq!(sources("ref: refs/heads/unborn", true), others);
        assert_eq!(sources("ref: refs/heads/fix/it", false), and_head);
        assert_eq!(sources("e5", false), and_head);
    }

    #[test]
    fn of_what_is_beside_the_branches_the_tips_are_kept() {
        let set = |objects: &[&str]| objects.iter().map(|object| (*object).to_owned()).collect::<BTreeSet<_>>();
        let listed = "a1 refs/heads/fix\nb2 refs/remotes/origin/main\nc3 refs/tags/v1\nd4 refs/notes/commits\ne5 refs/stash\nf6 refs/tags/mine\n";
        let found = loose(listed, set(&["a1", "b2", "e5", "09", "17"]), &set(&["c3", "17"]));
        assert_eq!(found, set(&["09", "d4", "f6"]));
        assert_eq!(tips("c3 b2\nb2 a1\nd4 a1 e5\n"), ["c3", "d4"]);
    }

    #[test]
    fn head_is_remembered_where_it_moved() {
        let id = ExecutionId::from(uuid::Uuid::nil());
        let head = |head: &str| plan("a1 refs/heads/old\nc3 refs/heads/fix\n", head, "a1", id, false).head;
        let at = |commit: &str, branch: Option<&str>| {
            Some(Head { commit: commit.into(), branch: branch.map(str::to_owned) })
        };
        assert_eq!(head("a1"), None);
        assert_eq!(head("e5"), at("e5", None));
        assert_eq!(head("ref: refs/heads/fix"), at("c3", Some("refs/heads/fix")));
        assert_eq!(head("ref: refs/heads/old"), at("a1", Some("refs/heads/old")));
        assert_eq!(head("ref: refs/heads/unborn"), None);
    }

    #[test]
    fn a_reference_goes_when_it_is_merged_or_no_branch_and_old_and_not_among_the_newest() {
        let now = DateTime::from_timestamp(1_795_000_000, 0).expect("in range");
        let id = |days: i64, minute: i64| {
            ExecutionId::mint(now - TimeDelta::days(days) + TimeDelta::minutes(minute), [1; 10])
        };
        let listed: String = (0..60).map(|number| format!("o{number} {}\n", wip(id(40, number)))).collect();
        let branch = branches(id(400, 1));
        let more =
            format!("m {}/fix\nb {branch}/fix\nx refs/bifrost/wip/not-an-id\ny refs/heads/main\n", branches(id(1, 1)));
        let listed = listed + &more;
        let kept = parse(&listed);
        assert_eq!(kept.len(), 62);
        let unmerged: String = (0..60).map(|number| format!("o{number}\n")).chain(["b\n".to_owned()]).collect();
        let gone: Vec<&str> = gone(&kept, &unmerged, now).into_iter().map(|one| one.object.as_str()).collect();
        let oldest = (0..11).map(|number| format!("o{number}"));
        assert_eq!(gone, oldest.chain(["m".to_owned()]).collect::<Vec<_>>());
    }
}
