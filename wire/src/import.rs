//! Tasks as files hold them: a line each, which may have a name, needs others by
//! their names, and brings along what stands beside the task.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::budget::TaskBudget;
use crate::dependency::{DependencyType, check_group};
use crate::id::TaskId;
use crate::limit;
use crate::metadata::{AGENT_TYPE_KEY, check_agent_type};
use crate::outcome::{Condition, OutcomeName};
use crate::task::{FieldError, NewTask, Priority, TaskSpec, TaskStatus, wrong};

/// One line of `POST /v1/tasks/import`, and of `GET /v1/tasks/export`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportedTask {
    /// A name by which other lines need it, of up to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// One line, 1 to 500 characters.
    pub title: String,
    /// Up to 65,536 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where it stands: `ready` when absent. What is in somebody's hands is ready again, and what was split is
    /// cancelled: its parts are tasks of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
    /// 1 to 5, 5 first; 3 when absent.
    #[serde(default)]
    pub priority: Priority,
    /// Estimated minutes of work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort_estimate: Option<i32>,
    /// What a runner is to do; absent for a note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<TaskSpec>,
    /// The project that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What it uses and others use too; not to be confused with its name, `key`. Up to 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// It does not start before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// When nobody has it by then, it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DateTime<Utc>>,
    /// What it may use in its whole life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<TaskBudget>,
    /// What it needs: names of other lines, or ids of tasks that are there already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// Up to 100, of 1 to 100 characters each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What is true of it besides its status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub outcomes: Vec<OutcomeName>,
    /// Keys with their values, up to 200.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl ImportedTask {
    /// The task alone.
    pub fn task(&self) -> NewTask {
        NewTask {
            title: self.title.clone(),
            description: self.description.clone(),
            priority: self.priority,
            effort_estimate: self.effort_estimate,
            spec: self.spec.clone(),
            project: self.project.clone(),
            keys: self.keys.clone(),
            not_before: self.not_before,
            deadline: self.deadline,
            budget: self.budget.clone(),
        }
    }

    /// Where it stands once it is there.
    pub fn stands(&self) -> TaskStatus {
        match self.status.unwrap_or(TaskStatus::Ready) {
            TaskStatus::Ready | TaskStatus::Assigned | TaskStatus::InProgress => TaskStatus::Ready,
            TaskStatus::Completed => TaskStatus::Completed,
            TaskStatus::Failed => TaskStatus::Failed,
            TaskStatus::Split | TaskStatus::Cancelled => TaskStatus::Cancelled,
        }
    }

    /// Refuses what breaks a bound, naming the field.
    pub fn validate(&self) -> Result<(), FieldError> {
        if self.key.as_deref().is_some_and(is_no_key) {
            return Err(wrong("key", format!("must have 1 to {} characters", limit::IMPORT_KEY_CHARS)));
        }
        self.task().validate()?;
        if self.needs.len() > limit::NEEDS_PER_TASK {
            return Err(wrong("needs", format!("must be at most {}", limit::NEEDS_PER_TASK)));
        }
        self.needs.iter().try_for_each(Need::validate)?;
        if self.outcomes.len() > limit::OUTCOMES_PER_TASK {
            return Err(wrong("outcomes", format!("must be at most {}", limit::OUTCOMES_PER_TASK)));
        }
        check_tags(&self.tags)?;
        check_metadata(&self.metadata)
    }
}

fn is_no_key(key: &str) -> bool {
    key.trim().is_empty() || key.chars().count() > limit::IMPORT_KEY_CHARS || key.contains('\0')
}

fn check_tags(tags: &[String]) -> Result<(), FieldError> {
    let is_wrong = |tag: &String| tag.trim().is_empty() || tag.chars().count() > limit::TAG_CHARS || tag.contains('\0');
    if tags.len() > limit::TAGS_PER_TASK || tags.iter().any(is_wrong) {
        let message = format!("must be at most {} of 1 to {} characters", limit::TAGS_PER_TASK, limit::TAG_CHARS);
        return Err(wrong("tags", message));
    }
    Ok(())
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), FieldError> {
    let (key_chars, value_chars) = (limit::METADATA_KEY_CHARS, limit::METADATA_VALUE_CHARS);
    let is_wrong = |(key, value): (&String, &String)| {
        let is_key = !key.trim().is_empty() && key.chars().count() <= key_chars && !key.contains('\0');
        !is_key || value.chars().count() > value_chars || value.contains('\0')
    };
    if metadata.len() > limit::METADATA_PER_IMPORT || metadata.iter().any(is_wrong) {
        let most = limit::METADATA_PER_IMPORT;
        let message =
            format!("must be at most {most} keys of 1 to {key_chars} characters with values of up to {value_chars}");
        return Err(wrong("metadata", message));
    }
    if let Some(Err(error)) = metadata.get(AGENT_TYPE_KEY).map(|text| check_agent_type(text)) {
        return Err(wrong("metadata.agent_type", error.message));
    }
    if metadata.contains_key(crate::metadata::TAGS_KEY) {
        return Err(wrong("metadata", "holds `tags`, which is a field of its own"));
    }
    Ok(())
}

/// Something that a line needs: a name, or a name with how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Need {
    /// The name of another line, or the id of a task that is there already.
    pub key: String,
    /// `hard` when absent.
    pub dependency_type: DependencyType,
    /// What must be true of it; `completed` when absent.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub condition: Condition,
    /// Of the needs of one task with the same label, one suffices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl Need {
    /// That a task is completed.
    pub fn on(key: impl Into<String>) -> Self {
        let (dependency_type, condition) = (DependencyType::Hard, Condition::Completed);
        Self { key: key.into(), dependency_type, condition, group: None }
    }

    fn validate(&self) -> Result<(), FieldError> {
        if is_no_key(&self.key) {
            return Err(wrong("needs", format!("names must have 1 to {} characters", limit::IMPORT_KEY_CHARS)));
        }
        check_group(self.group.as_deref(), self.dependency_type)
    }
}

// By hand: the derived form of an untagged enum cannot say which field was wrong.
impl<'de> Deserialize<'de> for Need {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NeedShape)
    }
}

struct NeedShape;

impl<'de> Visitor<'de> for NeedShape {
    type Value = Need;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or an object with `key`")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Need, E> {
        Ok(Need::on(key))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Need, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            key: String,
            #[serde(default = "DependencyType::usual")]
            dependency_type: DependencyType,
            #[serde(default)]
            condition: Condition,
            #[serde(default)]
            group: Option<String>,
        }
        let Whole { key, dependency_type, condition, group } = Whole::deserialize(MapAccessDeserializer::new(object))?;
        Ok(Need { key, dependency_type, condition, group })
    }
}

/// The answer of `POST /v1/tasks/import`: all lines became tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Imported {
    /// How many dependencies there are between them, and on what was there.
    pub dependencies: usize,
    /// The tasks, in the order of the lines.
    pub tasks: Vec<ImportedId>,
}

/// What a line became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImportedId {
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The task.
    pub id: TaskId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ImportedTask, String> {
        let task: ImportedTask = serde_json::from_str(text).map_err(|error| error.to_string())?;
        task.validate().map_err(|error| error.to_string())?;
        Ok(task)
    }

    #[test]
    fn a_line_needs_others_by_name_or_with_how() {
        let text = r#"{"title":"a","needs":["x",{"key":"y","condition":"merged","group":"g"}]}"#;
        let merged = Condition::Outcome(OutcomeName::Merged);
        let whole = Need { condition: merged, group: Some("g".into()), ..Need::on("y") };
        assert_eq!(read(text).expect("reads").needs, [Need::on("x"), whole]);
    }

    #[test]
    fn what_a_line_says_reads_back() {
        let text = r#"{"key":"k","title":"t","status":"completed","priority":5,"tags":["a"],"outcomes":["merged"],"metadata":{"b":"c"}}"#;
        let task = read(text).expect("reads");
        assert_eq!(serde_json::to_string(&task).expect("plain data"), text);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let many = format!(r#"{{"title":"a","needs":[{}"x"]}}"#, r#""x","#.repeat(1_000));
        for (text, said) in [
            (r#"{"title":""}"#, "title"),
            (r#"{"title":"a","key":" "}"#, "key"),
            (r#"{"title":"a","needs":[7]}"#, "a name, or an object with `key`"),
            (r#"{"title":"a","needs":[{"key":"x","group":"g","dependency_type":"soft"}]}"#, "group"),
            (r#"{"title":"a","needs":[{"key":"x","how":"g"}]}"#, "how"),
            (r#"{"title":"a","outcomes":["green"]}"#, "ci_green"),
            (r#"{"title":"a","tags":[""]}"#, "tags"),
            (r#"{"title":"a","metadata":{"":"x"}}"#, "metadata"),
            (r#"{"title":"a","metadata":{"tags":"[]"}}"#, "metadata"),
            (r#"{"title":"a","priority":6}"#, "priority"),
            (&many, "needs: must be at most 1000"),
        ] {
            let error = read(text).expect_err("is refused");
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
