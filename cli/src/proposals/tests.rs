//! Looking for work, in places that answer as their documentation says.

use std::path::Path;

use kit::{Chance, Vars};
use serde_json::json;
use wire::task::Priority;
use wiremock::matchers::{header, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

fn vars() -> Vars {
    Vars::from_pairs([("TOKEN", "secret-token\n"), ("BAD", "a b"), ("NO_PROXY", "127.0.0.1")])
}

fn sources(text: &str) -> Sources {
    Sources::read(text, &vars()).expect("is a file")
}

async fn found(text: &str) -> Vec<Found> {
    let sources = sources(text);
    let http = || kit::http::client(WITHIN);
    let mut all = Vec::new();
    for source in &sources.sources {
        all.extend(match &source.place {
            Place::Github(asked) => github::look(http(), asked, &Chance::seeded(1)).await.expect("looks"),
            Place::Sentry(asked) => sentry::look(http(), asked, &Chance::seeded(1)).await.expect("looks"),
            Place::Git(asked) => git::look(asked).await.expect("looks"),
        });
    }
    all
}

#[tokio::test]
async fn issues_of_a_repository_are_found_by_their_labels() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = ::github::fake::Host::start(directory.path(), "secret-token").await;
    host.open_issue(3, "It crashes", &["bug", "area: login"]);
    host.open_issue(4, "It could be blue", &["wish"]);
    let url = host.url();
    let file =
        format!("[[source]]\nkind = \"github\"\nrepository = \"{url}\"\nlabels = [\"bug\"]\ntoken = \"TOKEN\"\n");
    let found = found(&file).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].source.as_str(), found[0].title.as_str()), ("github:owner/name#3", "It crashes"));
    assert_eq!(found[0].tags, ["bug", "area: login"]);
    assert!(found[0].url.as_deref().is_some_and(|url| url.ends_with("/owner/name/issues/3")));
}

#[tokio::test]
async fn issues_of_sentry_are_read_page_by_page_until_one_is_empty() {
    let server = MockServer::start().await;
    let issue = |id: &str| {
        json!({"id": id, "shortId": format!("WEB-{id}"), "title": format!("Error {id}"), "culprit": "app.views in index",
               "permalink": format!("https://sentry.example/issues/{id}/"), "level": "error", "count": "150",
               "userCount": 7, "firstSeen": "2026-11-01T10:00:00Z", "lastSeen": "2026-11-02T10:00:00Z",
               "status": "unresolved", "project": {"slug": "web"}})
    };
    let root = format!("{}/api/0/projects/acme/web/issues/", server.uri());
    let link = |cursor: &str, results: bool| {
        format!(
            "<{root}?cursor=x>; rel=\"previous\"; results=\"false\"; cursor=\"x\", \
                 <{root}?cursor={cursor}>; rel=\"next\"; results=\"{results}\"; cursor=\"{cursor}\""
        )
    };
    let page = |link: String, issues| ResponseTemplate::new(200).insert_header("link", link).set_body_json(issues);
    let asked =
        || Mock::given(path("/api/0/projects/acme/web/issues/")).and(header("authorization", "Bearer secret-token"));
    let first = page(link("0:100:0", true), vec![issue("1"), issue("2")]);
    asked().and(query_param("query", "is:unresolved level:error")).respond_with(first).expect(1).mount(&server).await;
    let second = page(link("0:200:0", false), vec![issue("3")]);
    asked().and(query_param("cursor", "0:100:0")).respond_with(second).expect(1).mount(&server).await;
    let file = format!(
        "[[source]]\nkind = \"sentry\"\nurl = \"{}\"\norganization = \"acme\"\nproject = \"web\"\n\
         query = \"is:unresolved level:error\"\ntoken = \"TOKEN\"\n",
        server.uri()
    );
    let found = found(&file).await;
    let known: Vec<&str> = found.iter().map(|one| one.source.as_str()).collect();
    assert_eq!(known, ["sentry:acme/web#1", "sentry:acme/web#2", "sentry:acme/web#3"]);
    assert_eq!(found[0].tags, ["error"]);
    let text =
        "Where: app.views in index\nHow often: 150\nFirst seen: 2026-11-01T10:00:00Z\nLast seen: 2026-11-02T10:00:00Z";
    assert_eq!(found[0].text, text);
}

async fn git_in(directory: &Path, arguments: &[&str]) {
    let mut command = kit::process::command("git");
    command.arg("-C").arg(directory).args(["-c", "user.name=n", "-c", "user.email=e@example.org"]).args(arguments);
    assert!(command.status().await.expect("git runs").success(), "{arguments:?}");
}

#[tokio::test]
async fn notes_in_the_source_are_found_as_they_are_committed() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path().join("app");
    std::fs::create_dir(&at).expect("makes");
    std::fs::write(at.join("a.rs"), "fn a() {} // TODO: make it faster\n// TODOS are no note\n").expect("writes");
    git_in(&at, &["init", "--quiet"]).await;
    git_in(&at, &["add", "--all"]).await;
    git_in(&at, &["commit", "--quiet", "--message=a"]).await;
    std::fs::write(at.join("b.rs"), "// FIXME: is not committed\n").expect("writes");
    let file = format!("[[source]]\nkind = \"git\"\npath = {:?}\n", at.display().to_string());
    let notes = found(&file).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(
        (notes[0].title.as_str(), notes[0].tags.as_slice()),
        ("TODO: make it faster (a.rs)", &["todo".to_owned()][..])
    );
    assert!(notes[0].source.starts_with("git:app:a.rs#"), "{}", notes[0].source);
    std::fs::write(at.join("a.rs"), "\n").expect("writes");
    git_in(&at, &["commit", "--quiet", "--all", "--message=b"]).await;
    assert_eq!(found(&file).await, []);
}

#[test]
fn what_a_file_gets_wrong_is_told_by_its_place() {
    let github = "[[source]]\nkind = \"github\"\nrepository = \"https://github.com/o/n\"\n";
    for (text, expect) in [
        (String::new(), "it names no source"),
        ("[[source]]\nkind = \"jira\"\n".into(), "unknown variant `jira`"),
        (format!("{github}label = [\"a\"]\n"), "unknown field `label`"),
        (github.replace("/o/n", "/o"), "source[0].repository is no repository"),
        (format!("{github}labels = [\"a,b\"]\n"), "source[0].labels must be labels"),
        (format!("{github}token = \"NONE\"\n"), "source[0].token names the variable NONE, which is not set"),
        (format!("{github}token = \"BAD\"\n"), "source[0].token names the variable BAD, which holds no token"),
        (format!("{github}most = 0\n"), "source[0].most must be from 1 to 1000"),
        (format!("{github}task = {{ priority = 9 }}\n"), "priority must be a whole number from 1"),
        (
            format!("{github}task = {{ spec = {{ repository = \"x\", command = [\"a\"] }} }}\n"),
            "source[0].task.spec.repository",
        ),
        (
            "[[source]]\nkind = \"sentry\"\norganization = \"a/b\"\nproject = \"p\"\ntoken = \"TOKEN\"\n".into(),
            "source[0].organization must be a slug",
        ),
        ("[[source]]\nkind = \"git\"\npath = \".\"\nwords = [\"-x\"]\n".into(), "source[0].words must be words"),
    ] {
        let complaint = Sources::read(&text, &vars()).expect_err("is refused");
        assert!(complaint.contains(expect), "{text}: {complaint}");
    }
    let shown = format!("{:?}", sources(&format!("{github}token = \"TOKEN\"\n")));
    assert!(!shown.contains("secret-token"));
}

#[test]
fn a_task_is_like_its_place_says_and_no_words_that_were_found_are_a_pattern() {
    let file = "[[source]]\nkind = \"git\"\npath = \".\"\n[source.task]\npriority = 5\nproject = \"app\"\ntags = [\"found\"]\n\
                agent_type = \"developer\"\n[source.task.spec]\nrepository = \"https://github.com/o/n\"\npull_request = {}\n\
                agent = { name = \"mock\", prompt = \"Do {title}: {description} {other}\" }\n";
    let sources = sources(file);
    let found = Found {
        source: "git:a:b#c".into(),
        title: "{description}\nof two lines".into(),
        text: "x\0".repeat(70_000),
        tags: vec!["todo".into(), "found".into(), " ".into()],
        url: Some("https://a.example/1".into()),
    };
    let proposal = proposal(&found, &sources.sources[0]);
    proposal.validate().expect("may be proposed");
    assert_eq!((proposal.priority, proposal.project.as_deref()), (Priority::try_from(5).expect("is one"), Some("app")));
    assert_eq!(
        (proposal.tags.as_slice(), proposal.title.as_str()),
        (&["found".to_owned(), "todo".into()][..], "{description} of two lines")
    );
    assert_eq!(proposal.metadata["agent_type"], "developer");
    assert!(
        proposal.description.ends_with("…\n\nhttps://a.example/1") && proposal.description.chars().count() == 65_536
    );
    let prompt = proposal.spec.and_then(|spec| spec.agent).expect("an agent").prompt;
    assert!(prompt.starts_with("Do {description} of two lines: xxx") && prompt.ends_with(" {other}"), "{prompt}");
}

#[test]
fn no_batch_is_more_than_the_server_takes() {
    let long = |number: usize| NewProposal {
        source: format!("a#{number}"),
        description: "x".repeat(60_000),
        ..NewProposal::default()
    };
    let short = |number: usize| NewProposal { source: format!("b#{number}"), ..NewProposal::default() };
    let found: Vec<NewProposal> = (0..40).map(long).chain((0..250).map(short)).collect();
    let batches = batches(found.clone());
    assert_eq!(batches.concat(), found);
    let bytes = |batch: &Vec<NewProposal>| serde_json::to_vec(batch).expect("plain data").len();
    assert!(batches.iter().all(|batch| bytes(batch) < BODY_BYTES && batch.len() <= TASKS_PER_BATCH));
    assert!(batches.len() <= 6, "{}", batches.len());
}
