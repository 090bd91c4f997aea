//! Each form on a few lines, and what each refuses.

use wire::dependency::DependencyType;
use wire::import::Need;
use wire::task::TaskStatus;

use super::*;

fn tasks(format: Format, text: &str) -> Vec<ImportedTask> {
    read(format, text).expect("reads").into_iter().map(|one| one.task).collect()
}

fn needs(task: &ImportedTask) -> Vec<(&str, DependencyType)> {
    task.needs.iter().map(|need| (need.key.as_str(), need.dependency_type)).collect()
}

const BEADS: &str = r#"{"id":"bd-1","title":"A","description":"d","status":"closed","priority":1,"issue_type":"bug","labels":["x"],"estimated_minutes":5}
{"id":"bd-2","title":"B","status":"open","priority":2,"dependencies":[{"issue_id":"bd-2","depends_on_id":"bd-1","type":"blocks"},{"issue_id":"bd-2","depends_on_id":"bd-3","type":"related"},{"issue_id":"bd-2","depends_on_id":"bd-9","type":"blocks"}],"assignee":""}
{"id":"bd-3","title":"C","status":"in_progress","priority":4}"#;

const GITHUB: &str = r#"[
  {"number": 1, "title": "A", "state": "closed", "state_reason": "completed", "body": null, "labels": [{"name": "P1"}],
   "html_url": "https://github.com/o/n/issues/1", "url": "https://api.github.com/x", "user": {"login": "ann"}},
  {"number": 2, "title": "B", "state": "open", "body": "text\n- Blocked by #1 and #7\nsee #3", "labels": [{"name": "priority: low"}], "assignees": [{"login": "bob"}, {"login": "eve"}]},
  {"number": 3, "title": "C", "state": "closed", "state_reason": "not_planned", "labels": []},
  {"number": 4, "title": "PR", "state": "open", "pull_request": {}}
]"#;

const LINEAR: &str = "ID,Team,Title,Description,Status,Estimate,Priority,Labels,Parent issue,Blocked by\n\
                      ENG-1,Eng,A,,Done,3,Urgent,\"api, ui\",,\n\
                      ENG-2,Eng,\"B, \"\"quoted\"\"\",\"two\nlines\",Todo,,Medium,,ENG-1,\"ENG-1, OPS-9\"\n\
                      ENG-3,Eng,C,,Canceled,,No priority,,,\n";

#[test]
fn beads_issues_keep_what_blocks_them() {
    let [a, b, c] = <[_; 3]>::try_from(tasks(Format::Beads, BEADS)).expect("three");
    assert_eq!(
        (a.status, a.priority.get(), a.effort_estimate, a.tags),
        (Some(TaskStatus::Completed), 5, Some(5), vec!["x".into()])
    );
    assert_eq!(a.metadata["beads.issue_type"], "bug");
    assert_eq!(needs(&b), [("bd-1", DependencyType::Hard), ("bd-3", DependencyType::Soft)]);
    assert_eq!((b.priority.get(), b.metadata["beads.elsewhere"].as_str()), (4, "bd-9"));
    assert_eq!((c.status, c.priority.get()), (None, 2));
}

#[test]
fn github_issues_need_what_their_text_says() {
    let [a, b, c] = <[_; 3]>::try_from(tasks(Format::Github, GITHUB)).expect("three: a pull request is none");
    assert_eq!((a.status, a.priority.get(), a.key.as_deref()), (Some(TaskStatus::Completed), 5, Some("1")));
    assert_eq!((a.metadata["github.user"].as_str(), a.metadata.contains_key("github.url")), ("ann", false));
    assert_eq!((needs(&b), b.priority.get()), (vec![("1", DependencyType::Hard)], 1));
    assert_eq!(b.metadata["github.assignees"], "bob, eve");
    assert_eq!(c.status, Some(TaskStatus::Cancelled));
}

#[test]
fn linear_issues_come_with_their_words() {
    let [a, b, c] = <[_; 3]>::try_from(tasks(Format::Linear, LINEAR)).expect("three");
    assert_eq!(
        (a.status, a.priority.get(), a.tags, a.effort_estimate),
        (Some(TaskStatus::Completed), 5, vec!["api".into(), "ui".into()], None)
    );
    assert_eq!(a.metadata["linear.Estimate"], "3");
    assert_eq!((b.title.as_str(), b.description.as_str(), b.priority.get()), ("B, \"quoted\"", "two\nlines", 3));
    assert_eq!(needs(&b), [("ENG-1", DependencyType::Soft), ("ENG-1", DependencyType::Hard)]);
    assert_eq!((c.status, c.priority.get()), (Some(TaskStatus::Cancelled), 3));
}

#[test]
fn what_is_written_as_csv_reads_back() {
    let text = r#"{"key":"a","title":"A, \"x\"","description":"l1\nl2","status":"ready","priority":5,"effort_estimate":3,"spec":{"repository":"https://example.org/a","command":["x"]},"tags":["t1","t,2"],"outcomes":["artefact:x,y"],"metadata":{"m":" n "}}
{"key":"b","title":" B","status":"completed","priority":1,"needs":["a"],"project":"web","keys":["db","a/b"],"not_before":"2100-01-01T00:00:00Z","deadline":"2100-02-01T00:00:00.5Z","budget":{"dollars":"2.5","tokens":7}}
{"key":"c","title":"C","status":"ready","priority":3,"needs":["a",{"key":"b","condition":"merged","group":"g"}]}"#;
    let wanted = tasks(Format::Jsonl, text);
    let csv = write(&wanted);
    assert_eq!(guess("x", &csv), Format::Csv);
    assert_eq!(tasks(Format::Csv, &csv), wanted);
}

#[test]
fn a_table_takes_other_names_and_words_and_keeps_what_it_does_not_know() {
    let text = "\u{feff}Title,ID,State,Priority,Depends_On,Owner\r\nA,1,open,High,,ann\r\nB,2,done,p3,\"1; 1b\",\r\nC,1b,,,,\r\n";
    let [a, b, _] = <[_; 3]>::try_from(tasks(Format::Csv, text)).expect("three");
    assert_eq!((a.priority.get(), a.metadata["Owner"].as_str(), a.status), (5, "ann", None));
    assert_eq!((b.needs, b.status), (vec![Need::on("1"), Need::on("1b")], Some(TaskStatus::Completed)));
}

#[test]
fn a_wrong_line_is_named_with_its_field() {
    for (format, text, line, said) in [
        (Format::Jsonl, "{\"title\":\"a\"}\n[]", 2, "struct"),
        (Format::Jsonl, "\n{\"titel\":\"a\"}", 2, "titel"),
        (Format::Jsonl, "{\"title\":\"\"}", 1, "title"),
        (Format::Jsonl, "{\"title\":\"a\",\"key\":7}", 1, "integer `7`"),
        (Format::Csv, "name\na", 1, "`title`"),
        (Format::Csv, "title,priority\n\"a\nb\",3\nc,9", 4, "priority"),
        (Format::Csv, "title\n\na,b", 3, "has 2 cells"),
        (Format::Csv, "title\n\"a", 2, "never closed"),
        (Format::Csv, "title\n\"a\"b", 2, "closing quote"),
        (Format::Csv, "title,minutes\na,soon", 2, "minutes"),
        (Format::Csv, "title,status\na,gone", 2, "status"),
        (Format::Csv, "title,deadline\na,tomorrow", 2, "deadline"),
        (Format::Beads, "{\"id\":\"a\",\"title\":7}", 1, "title"),
        (Format::Beads, "{\"id\":\"a\",\"title\":\"a\",\"dependencies\":[{}]}", 1, "depends_on_id"),
        (Format::Github, "[\n{\"number\":1,\"title\":\"a\"},\n{\"number\":2}]", 3, "title"),
        (Format::Github, "[\n{\"number\":1,", 2, "EOF"),
        (Format::Linear, "ID,Team\nx,y", 1, "`title`"),
        (Format::Linear, "ID,Title,Priority\nx,y,odd", 2, "priority"),
    ] {
        let wrong = read(format, text).expect_err("is refused");
        assert!(wrong.line == line && wrong.what.contains(said), "{text}: {wrong:?}");
    }
}

#[test]
fn a_form_is_known_by_its_beginning() {
    for (name, text, expect) in [
        ("a.jsonl", "{\"title\":\"a\"}", Format::Jsonl),
        ("a.jsonl", "{\"key\":\"a\",\"title\":\"a\"}", Format::Jsonl),
        ("issues.jsonl", BEADS, Format::Beads),
        ("-", GITHUB, Format::Github),
        ("export.csv", LINEAR, Format::Linear),
        ("plan.csv", "name,title\n", Format::Csv),
        ("-", "", Format::Jsonl),
    ] {
        assert_eq!(guess(name, text), expect, "{name}");
    }
}
