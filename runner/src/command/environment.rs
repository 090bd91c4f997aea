//! What a command finds in its environment (pure): little, known, and nothing of
//! the runner's own.

use std::collections::BTreeMap;
use std::path::Path;

use crate::leftovers;
use crate::record::Subject;

/// What a command's environment is made of besides the task's own variables.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) tools: &'a BTreeMap<String, String>,
    pub(crate) home: &'a Path,
    pub(crate) temporary: &'a Path,
    /// Where its dependencies are.
    pub(crate) dependencies: &'a BTreeMap<String, String>,
    pub(crate) programs: Option<&'a Path>,
}

/// The whole environment of a command.
pub(crate) fn whole(
    surroundings: &Surroundings<'_>,
    subject: Subject,
    own: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = surroundings.tools.clone();
    if let Some(programs) = surroundings.programs {
        let path = all.get("PATH").cloned().unwrap_or_default();
        all.insert("PATH".into(), format!("{}:{path}", programs.display()));
    }
    all.extend(surroundings.dependencies.clone());
    all.insert("HOME".into(), surroundings.home.to_string_lossy().into_owned());
    all.insert("TMPDIR".into(), surroundings.temporary.to_string_lossy().into_owned());
    all.insert("CI".into(), "true".into());
    all.extend(own.clone());
    // Last: by these the runner knows the processes of the execution.
    all.insert("BIFROST_TASK_ID".into(), subject.task_id.to_string());
    all.insert(leftovers::MARK.into(), subject.execution_id.to_string());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_little_and_known() {
        let subject = crate::testing::subject();
        let tools = [("PATH".to_owned(), "/bin".to_owned())].into();
        let dependencies = [("VIRTUAL_ENV".to_owned(), "/w/.venv".to_owned())].into();
        let surroundings = Surroundings {
            tools: &tools,
            home: Path::new("/h"),
            temporary: Path::new("/t"),
            dependencies: &dependencies,
            programs: Some(Path::new("/w/.venv/bin")),
        };
        let own = [("MINE", "1"), ("HOME", "/mine"), (leftovers::MARK, "forged")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let all = whole(&surroundings, subject, &own);
        let expect = [
            ("BIFROST_EXECUTION_ID", subject.execution_id.to_string()),
            ("BIFROST_TASK_ID", subject.task_id.to_string()),
            ("CI", "true".into()),
            ("HOME", "/mine".into()),
            ("MINE", "1".into()),
            ("PATH", "/w/.venv/bin:/bin".into()),
            ("TMPDIR", "/t".into()),
            ("VIRTUAL_ENV", "/w/.venv".into()),
        ];
        assert_eq!(all, expect.map(|(name, value)| (name.to_owned(), value)).into());
    }
}
